"""Clusters and networks: names that kind takes, ranges that do not meet, and topologies that can be read."""

from __future__ import annotations

import json
from ipaddress import ip_network
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.images import ImageSet
from lab.kind import config
from lab.topology import plan, read
from splithorizon.base.errors import UsageProblem
from splithorizon.base.paths import MANIFESTS
from splithorizon.istio.topology import PRIMARY_REMOTE, Watch
from tests.support.fake_engine import fake_engine

# kind's node is "<prefix>-primary-control-plane"; a host name has at most 63 characters.
LONGEST = "a" * (63 - len("-primary-control-plane"))


def test_the_clusters_are_named_by_prefix_in_kind_and_without_it_in_the_mesh() -> None:
    mesh = plan("lab")
    assert [cluster.kind_name for cluster in mesh] == ["lab-primary", "lab-remote"]
    assert [cluster.name for cluster in mesh] == ["primary", "remote"]
    assert [cluster.control_plane for cluster in mesh] == ["primary", "primary"]
    assert [cluster.version for cluster in mesh] == ["v1", "v2"]
    assert [cluster.network for cluster in mesh] == ["primary-network", "remote-network"]
    assert [cluster.cluster_id for cluster in mesh] == ["primary", "remote"]
    assert mesh["remote"].node == "lab-remote-control-plane"


def test_a_cluster_is_found_by_its_name_in_the_mesh() -> None:
    mesh = plan("lab")
    assert mesh["primary"] is next(iter(mesh))
    assert mesh["remote"] is list(mesh)[1]
    with pytest.raises(KeyError):
        mesh["lab-primary"]


@pytest.mark.parametrize(
    ("name", "clusters"),
    [("primary-remote", 2), ("multi-primary", 2), ("three-clusters", 3), ("three-clusters-two-gateways", 3)],
)
def test_no_two_ranges_of_the_mesh_overlap(name: str, clusters: int) -> None:
    ranges = [ip_network(text) for one in plan("lab", read(name)) for text in (one.pod_subnet, one.service_subnet)]
    assert len(ranges) == 2 * clusters
    assert all(one.is_private for one in ranges)
    assert not [(one, two) for one, two in combinations(ranges, 2) if one.overlaps(two)]


@pytest.mark.parametrize("prefix", ["a", "7", "splithorizon", "a-b.c", LONGEST])
def test_good_prefixes_give_names_that_a_host_can_have(prefix: str) -> None:
    assert all(len(cluster.node) <= 63 for cluster in plan(prefix))


@pytest.mark.parametrize(
    "prefix",
    ["", "Lab", "a_b", "a b", "-a", "a-", ".a", "a.", "a/b", "ä", "a\n", LONGEST + "a"],
    ids=repr,
)
def test_bad_prefixes_are_refused_in_one_line(prefix: str) -> None:
    with pytest.raises(UsageProblem) as problem:
        plan(prefix)
    said = str(problem.value)
    assert said.startswith(f"--cluster-name {prefix!r}: ")
    assert f"at most {len(LONGEST)}" in said
    assert said.endswith("Nothing was created.")
    assert "\n" not in said


def test_the_default_is_the_file_of_its_name() -> None:
    assert read("primary-remote") == PRIMARY_REMOTE


def test_two_primaries_watch_each_other_and_manage_nobody_else() -> None:
    mesh = plan("lab", read("multi-primary"))
    assert [(one.kind_name, one.version, one.runs_istiod) for one in mesh] == [
        ("lab-cluster1", "v1", True),
        ("lab-cluster2", "v2", True),
    ]
    assert mesh.managed == ()
    assert mesh.watches == (Watch("cluster1", "cluster2"), Watch("cluster2", "cluster1"))
    assert not mesh.manages_others("cluster1")
    assert plan("lab").manages_others("primary")


def test_of_three_clusters_two_share_a_network_and_one_manages_the_other() -> None:
    mesh = plan("lab", read("three-clusters"))
    assert [(one.name, one.network, one.control_plane, one.version, one.has_gateway) for one in mesh] == [
        ("cluster1", "network1", "cluster1", "v1", True),
        ("cluster2", "network1", "cluster1", "v2", True),
        ("cluster3", "network2", "cluster3", "v3", True),
    ]
    assert [one.name for one in mesh.others_on_network_of("cluster1")] == ["cluster2"]
    assert mesh.others_on_network_of("cluster3") == ()
    assert list(map(str, mesh.watches)) == [
        "istiod of cluster1 watches cluster2",
        "istiod of cluster1 watches cluster3",
        "istiod of cluster3 watches cluster1",
        "istiod of cluster3 watches cluster2",
    ]
    variant = plan("lab", read("three-clusters-two-gateways"))
    assert [one.has_gateway for one in variant] == [True, False, True]


def test_kind_gets_the_ranges_of_the_topology_and_the_manifest_of_the_part(tmp_path: Path) -> None:
    engine = fake_engine(tmp_path)
    for cluster in plan("lab"):
        stored = yaml.safe_load((MANIFESTS / "kind" / f"{cluster.name}.yaml").read_text())
        assert config(cluster, images=images(own_node=False), engine=engine)["networking"] == stored["networking"]
    _, second = plan("lab", read("multi-primary"))
    made = config(second, images=images(own_node=False), engine=engine)["networking"]
    assert made == {"podSubnet": "10.20.0.0/16", "serviceSubnet": "10.120.0.0/16"}


def images(*, own_node: bool, **versions: str) -> ImageSet:
    return ImageSet(
        mode="built", node="node", own_node=own_node, istio_hub="hub", istio_version="1", samples={}, to_load=(),
        upstream_envoy=True, kind=Path("kind"), kubectl=Path("kubectl"), istioctl=Path("istioctl"), versions=versions,
    )  # fmt: skip


def test_a_node_that_is_built_here_starts_the_etcd_of_its_kubernetes(tmp_path: Path) -> None:
    engine = fake_engine(tmp_path)

    def etcd_of(chosen: ImageSet) -> list[str]:
        """The tags in the order in which kind merges the patches: the last one counts."""
        made = config(plan("lab")["primary"], images=chosen, engine=engine)
        patches = [yaml.safe_load(patch) for patch in made.get("kubeadmConfigPatches", [])]
        return [patch["etcd"]["local"]["imageTag"] for patch in patches if "etcd" in patch]

    assert etcd_of(images(own_node=True, etcd="9.9.9"))[1:] == ["9.9.9"]
    # That of a registry, whose versions are read when it runs, and a node that others made.
    assert len(etcd_of(images(own_node=True))) == 1
    assert etcd_of(images(own_node=False, etcd="9.9.9")) == []


def cluster(name: str, number: int = 1, **more: Any) -> dict[str, Any]:
    ranges = {"podSubnet": f"10.{number}0.0.0/16", "svcSubnet": f"10.1{number}0.0.0/16"}
    return {"kind": "Kubernetes", "clusterName": name, "network": f"net-{number}", **ranges, **more}


def test_a_file_in_the_form_of_istios_test_framework_is_read(tmp_path: Path) -> None:
    managed = cluster("b", 2, primaryClusterName="a", configClusterName="a")
    (tmp_path / "mesh.json").write_text(json.dumps([cluster("a"), managed]))
    found = read(str(tmp_path / "mesh.json"))
    assert [(one.name, one.network, one.control_plane, one.version) for one in found] == [
        ("a", "net-1", "a", "v1"),
        ("b", "net-2", "a", "v2"),
    ]
    assert str(found) == "a on net-1, b on net-2 managed by a"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({}, "a list of clusters is expected"),
        ([cluster("a")], "a split horizon takes two clusters, and it names 1"),
        ([cluster("a", meta={"eastWestGateway": False}), cluster("b", 2)], "net-1 has no gateway: nobody reaches"),
        ([cluster("a", meta={"eastWestGateway": "no"}), cluster("b", 2)], "a: meta may say eastWestGateway, true or"),
        ([cluster("a", meta={"fakeVM": True}), cluster("b", 2)], "meta may say eastWestGateway, true or false, and no"),
        (
            [
                cluster("a", meta={"eastWestGateway": False}),
                cluster("b", 2, network="net-1", primaryClusterName="a"),
                cluster("c", 3),
            ],
            "a has no gateway, and b reaches its istiod by that",
        ),
        ([cluster("a"), cluster("a", 2)], "a is named twice"),
        ([cluster("a"), cluster("b", 2, kind="VM")], "b: kind 'VM': only Kubernetes is made here"),
        ([cluster("a"), cluster("B", 2)], "clusterName 'B': lower-case letters"),
        ([cluster("a"), cluster("b", 2, network="")], "b has no network"),
        ([cluster("a"), cluster("b", 2, network="net-1")], "all clusters are on net-1: a split horizon takes two"),
        ([cluster("a"), cluster("b", 2, primaryClusterName="c")], "b: its primary c is no primary of this list"),
        ([cluster("a"), cluster("b", 2, configClusterName="a")], "b: istiod in b and its configuration in a: no such"),
        ([cluster("a"), cluster("b", 2, podSubnet="fd00::/64")], "b: podSubnet: "),
        ([cluster("a"), cluster("b", 2, podSubnet="10.10.8.0/24")], "10.10.0.0/16 of a and 10.10.8.0/24 of b overlap"),
        ([cluster("a"), cluster("b", 2, httpProxy="http://10.0.0.1")], "b: httpProxy is not known here"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_cannot_be_made_is_refused_in_one_line(tmp_path: Path, content: Any, told: str) -> None:
    file = tmp_path / "mesh.json"
    file.write_text(json.dumps(content))
    with pytest.raises(UsageProblem) as problem:
        read(str(file))
    said = str(problem.value)
    assert said.startswith(f"--topology {file}: ")
    assert told in said
    assert said.endswith("Nothing was created.")
    assert "\n" not in said


def test_a_name_that_there_is_not_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        UsageProblem, match="known by name: multi-primary, primary-remote, three-clusters, three-clusters-two-gateways"
    ):
        read("one-primary")
    (tmp_path / "broken.json").write_text("[")
    with pytest.raises(UsageProblem, match="it is not JSON"):
        read(str(tmp_path / "broken.json"))
