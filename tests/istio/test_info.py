"""What travels to xdist's workers arrives as it was sent."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from splithorizon.base import timeouts
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import Timeouts
from splithorizon.istio.info import Address, ExternalIstiod, MeshInfo
from splithorizon.kube.client import Kube
from splithorizon.mesh.cluster import Cluster
from splithorizon.traffic.client import Client
from tests.support.mesh_info import mesh_info
from tests.support.small_api import small_api


def test_facts_come_back_as_they_were(tmp_path: Path) -> None:
    sent = mesh_info(tmp_path)
    found = MeshInfo.from_json(sent.to_json())
    assert found == sent
    for name in ("primary", "remote"):
        cluster = found.clusters[name]
        assert cluster.name == name
        assert isinstance(cluster.kubeconfig, Path)
        assert list(map(str, cluster.gateways)) == [f"{cluster.node_address}:15443"]
    assert isinstance(found.kind, Path)


def test_an_external_istiod_comes_back_as_it_was(tmp_path: Path) -> None:
    known = mesh_info(tmp_path)
    external = ExternalIstiod("north", tmp_path / "north.kubeconfig", "kubectl --context north", holds_secrets=True)
    primary = replace(known.clusters["primary"], external_istiod=external)
    found = MeshInfo.from_json(replace(known, clusters={**known.clusters, "primary": primary}).to_json())
    assert found.clusters["primary"] == primary
    assert found.clusters["primary"].running_istiod.kubeconfig == external.kubeconfig
    assert found.clusters["remote"].running_istiod is found.clusters["remote"]


def test_facts_are_plain_json_and_travel_twice(tmp_path: Path) -> None:
    text = mesh_info(tmp_path).to_json()
    assert [cluster["name"] for cluster in json.loads(text)["clusters"]] == ["primary", "remote"]
    assert MeshInfo.from_json(text).to_json() == text


def test_a_kubeconfig_goes_by_path_and_not_by_content(tmp_path: Path) -> None:
    sent = mesh_info(tmp_path)
    for cluster in sent.clusters.values():
        cluster.kubeconfig.write_text("client-key-data: c2VjcmV0")
    assert "client-key-data" not in sent.to_json()
    assert "c2VjcmV0" not in sent.to_json()


def test_a_gateway_that_has_a_name_alone_is_known_by_the_names_addresses(tmp_path: Path) -> None:
    known = mesh_info(tmp_path).clusters["remote"]
    told = replace(known, gateways=(Address("load-balancer.test", 15443), Address("10.0.0.9", 443)))
    asked: list[str] = []

    def resolve(name: str) -> list[str]:
        asked.append(name)
        return ["10.0.0.1", "fd00::1"]

    def gateways(*held: str) -> frozenset[str]:
        known = frozenset(Address(host, 15443) for host in held)
        with timeouts.shortened(0.0001):
            return Cluster(told, "sample", resolve, held=lambda: known).gateway_addresses

    both = {"10.0.0.1:15443", "[fd00::1]:15443", "10.0.0.9:443"}
    assert gateways("10.0.0.1", "fd00::1") == both
    assert asked == ["load-balancer.test"]
    # An answer of DNS holds some of the addresses, and istiod asked at another time.
    assert gateways("10.0.0.1", "10.0.0.7") == {"10.0.0.1:15443", "10.0.0.7:15443", "10.0.0.9:443"}
    # It has none of them: the name's own are the ones that it should have.
    assert gateways("10.0.0.8") == gateways() == both


NSLOOKUP = """Server:\t\t10.110.0.10
Address:\t10.110.0.10:53

Name:\tgateway.test
Address: 10.0.0.1
Name:\tgateway.test
Address: 10.0.0.2

Name:\tgateway.test
Address: fd00::1

"""


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        (NSLOOKUP, {"10.0.0.1", "10.0.0.2", "fd00::1"}),
        (NSLOOKUP.replace("Address: ", "Address 1: "), {"10.0.0.1", "10.0.0.2", "fd00::1"}),
        ("Server:\t\t10.110.0.10\nAddress:\t10.110.0.10:53\n\n** server can't find it: NXDOMAIN\n", set()),
    ],
    ids=["today's busybox", "an older one", "nobody"],
)
def test_a_name_is_looked_up_where_the_client_is(tmp_path: Path, printed: str, found: set[str]) -> None:
    with small_api(tmp_path / "kubeconfig") as api:
        api.frames = [(1, printed.encode()), (3, b'{"status":"Success"}')]
        client = Client(Kube(tmp_path / "kubeconfig", "primary"), "sample", "primary", "sleep-1")
        assert client.resolve("gateway.test") == found


@pytest.mark.parametrize(
    "printed", [";; connection timed out; no servers could be reached\n", "** server can't find it: SERVFAIL\n"]
)
def test_a_dns_that_gives_no_answer_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str) -> None:
    monkeypatch.setattr(timeouts, "_current", replace(Timeouts(), name_resolved=0.1))
    with small_api(tmp_path / "kubeconfig") as api:
        api.frames = [(1, printed.encode()), (3, b'{"status":"Success"}')]
        client = Client(Kube(tmp_path / "kubeconfig", "primary"), "sample", "primary", "sleep-1")
        with pytest.raises(EnvironmentBroke, match=re.escape(printed.strip())):
            client.resolve("gateway.test")
