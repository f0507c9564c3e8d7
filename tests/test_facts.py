"""What travels to xdist's workers arrives as it was sent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from splithorizon.mesh.facts import ClusterFacts, MeshFacts
from splithorizon.mesh.gateway import Address
from splithorizon.mesh.model import Cluster
from splithorizon.topology import Role, plan


def facts(folder: Path) -> MeshFacts:
    clusters = {
        cluster.role: ClusterFacts(
            role=cluster.role,
            name=cluster.name,
            network=cluster.network,
            cluster_id=cluster.cluster_id,
            kubeconfig=folder / f"{cluster.role}.kubeconfig",
            node_address=f"172.18.0.{number}",
            pod_subnet=cluster.pod_subnet,
            service_subnet=cluster.service_subnet,
            gateways=(Address(f"172.18.0.{number}", 15443),),
        )
        for number, cluster in enumerate(plan("lab"), start=2)
    }
    return MeshFacts(
        clusters=clusters,
        kind=folder / "kind",
        versions={"istio": "1.29.1", "kubernetes": "1.34.4"},
        provider="podman",
        images_mode="built",
    )


def test_facts_come_back_as_they_were(tmp_path: Path) -> None:
    sent = facts(tmp_path)
    found = MeshFacts.from_json(sent.to_json())
    assert found == sent
    for role in Role:
        cluster = found.clusters[role]
        assert isinstance(cluster.role, Role)
        assert isinstance(cluster.kubeconfig, Path)
        assert list(map(str, cluster.gateways)) == [f"{cluster.node_address}:15443"]
    assert isinstance(found.kind, Path)


def test_facts_are_plain_json_and_travel_twice(tmp_path: Path) -> None:
    text = facts(tmp_path).to_json()
    assert set(json.loads(text)["clusters"]) == {"primary", "remote"}
    assert MeshFacts.from_json(text).to_json() == text


def test_a_kubeconfig_goes_by_path_and_not_by_content(tmp_path: Path) -> None:
    sent = facts(tmp_path)
    for cluster in sent.clusters.values():
        cluster.kubeconfig.write_text("client-key-data: c2VjcmV0")
    assert "client-key-data" not in sent.to_json()
    assert "c2VjcmV0" not in sent.to_json()


def test_a_gateway_that_has_a_name_alone_is_known_by_the_names_addresses(tmp_path: Path) -> None:
    known = facts(tmp_path).clusters[Role.REMOTE]
    told = replace(known, gateways=(Address("load-balancer.test", 15443), Address("10.0.0.9", 443)))
    asked: list[str] = []

    def resolve(name: str) -> list[str]:
        asked.append(name)
        return ["10.0.0.1", "fd00::1"]

    assert Cluster(told, "sample", resolve).gateway_addresses == {"10.0.0.1:15443", "[fd00::1]:15443", "10.0.0.9:443"}
    assert asked == ["load-balancer.test"]
