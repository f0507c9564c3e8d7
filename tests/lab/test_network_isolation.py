"""After isolation a node has no route to other networks, whatever default routes it had before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from lab import network_isolation
from lab.kind import MeshCluster
from splithorizon.base.errors import CommandFailed

ON_LINK = "10.89.0.0/24 dev eth0 proto kernel scope link src 10.89.0.2"


class Node:
    """A node's routing table and settings, changed by the same ``ip route`` and ``sysctl`` commands as a real one's."""

    def __init__(self, *routes: str) -> None:
        self.plan = SimpleNamespace(pod_subnet="10.10.0.0/16", service_subnet="10.110.0.0/16")
        self.address = "10.89.0.2"
        self.translations: list[str] = ["--jump KIND"]
        self.routes = [*routes]
        self.settings: list[str] = []

    def in_node(self, *argv: str) -> SimpleNamespace:
        match argv:
            case ("ip", "route", "replace", *words):
                self.routes = [route for route in self.routes if route != " ".join(words)] + [" ".join(words)]
            case ("ip", "route", "del", *words):
                self.routes.remove(" ".join(words))
            case ("ip", "route", "show", "default"):
                return SimpleNamespace(stdout="".join(f"{route} \n" for route in self.routes if "default" in route))
            case ("iptables", "--table", "nat", "--check", "POSTROUTING", *words):
                if " ".join(words) not in self.translations:
                    raise CommandFailed(argv, 1, "", "Bad rule (does a matching rule exist in that chain?)")
            case ("iptables", "--table", "nat", "--insert", "POSTROUTING", *words):
                self.translations.insert(0, " ".join(words))
            case ("sysctl", "--quiet", "--write", setting):
                self.settings.append(setting)
            case _:
                pytest.fail(f"an unknown command: {argv}")
        return SimpleNamespace(stdout="")


@pytest.mark.parametrize(
    "defaults",
    [
        ["default via 10.89.0.1 dev eth0 proto static metric 100"],
        ["default via 10.89.0.1 dev eth0", "default via 10.88.0.1 dev eth1 metric 200"],
        [],
    ],
    ids=["one default route", "two default routes", "none"],
)
def test_only_the_nodes_own_networks_stay_reachable(defaults: list[str]) -> None:
    node = Node(ON_LINK, *defaults)
    network_isolation.apply(cast(MeshCluster, node))
    assert node.routes == [ON_LINK, "10.110.0.0/16 dev eth0 scope link", "unreachable default metric 0"]


def test_refusals_are_not_limited_so_that_none_becomes_a_timeout() -> None:
    node = Node(ON_LINK)
    network_isolation.apply(cast(MeshCluster, node))
    assert node.settings == ["net.ipv4.icmp_ratelimit=0"]


def test_at_no_moment_does_the_node_lack_a_default_route() -> None:
    node = Node(ON_LINK, "default via 10.89.0.1 dev eth0")
    seen: list[bool] = []
    real = node.in_node

    def observed(*argv: str) -> SimpleNamespace:
        done = real(*argv)
        seen.append(any("default" in route for route in node.routes))
        return done

    node.in_node = observed  # type: ignore[method-assign]  # the same node, watched
    network_isolation.apply(cast(MeshCluster, node))
    assert seen
    assert all(seen)


def test_pods_of_one_network_reach_each_other_untranslated_and_nothing_else_is_opened() -> None:
    node, other = Node(ON_LINK), Node(ON_LINK)
    other.plan.pod_subnet, other.address = "10.20.0.0/16", "10.89.0.3"
    network_isolation.apply(cast(MeshCluster, node))
    before = [*node.routes]
    for _ in range(2):
        network_isolation.join(cast(MeshCluster, node), [cast(MeshCluster, other)])
        assert node.routes == [*before, "10.20.0.0/16 via 10.89.0.3"]
        assert node.translations == ["--source 10.10.0.0/16 --destination 10.20.0.0/16 --jump ACCEPT", "--jump KIND"]
    assert other.routes == [ON_LINK]
