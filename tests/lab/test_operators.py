"""The manifests of each cluster: those of the default topology are the files as they stand."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from lab import operators
from lab.topology import Topology, plan, read
from splithorizon.istio.info import Address, NetworkMode
from splithorizon.istio.topology import PRIMARY_REMOTE
from splithorizon.kube import manifests

LABELS, MESH_NETWORKS = NetworkMode.LABELS, NetworkMode.MESH_NETWORKS
ADDRESSES = {"primary": Address("192.0.2.1", 15443), "remote": Address("192.0.2.2", 15443)}


def stored(name: str) -> Any:
    (document,) = manifests.load(operators.FOLDER / f"{name}.yaml")
    return document


@pytest.fixture
def default() -> Topology:
    return plan("lab", PRIMARY_REMOTE)


@pytest.fixture
def two_primaries() -> Topology:
    return plan("lab", read("multi-primary"))


def test_the_default_topology_is_installed_by_the_files_as_a_person_applies_them(default: Topology) -> None:
    for cluster in default:
        assert operators.namespace(cluster, LABELS) == stored(f"{cluster.name}-namespace")
        assert operators.gateway(cluster, LABELS) == stored(f"{cluster.name}-eastwest-gateway")
    assert operators.control_plane(default["primary"], manages_others=True) == stored("primary")
    assert operators.managed(default["remote"]) == stored("remote")
    made, known = operators.mesh_networks(default, ADDRESSES), stored("mesh-networks")
    assert yaml.safe_load(made["data"].pop("meshNetworks")) == yaml.safe_load(known["data"].pop("meshNetworks"))
    assert made == known


@pytest.mark.parametrize("mode", list(NetworkMode))
def test_nothing_of_a_mesh_of_two_primaries_names_the_clusters_of_the_files(
    two_primaries: Topology, mode: NetworkMode
) -> None:
    for number, cluster in enumerate(two_primaries, start=1):
        control_plane = operators.control_plane(cluster, manages_others=False)
        parts = [operators.namespace(cluster, mode), operators.gateway(cluster, mode), control_plane]
        for part in parts:
            text = json.dumps(part)
            assert "primary-network" not in text
            assert '"clusterName": "primary"' not in text
        assert "annotations" not in parts[0]["metadata"]
        values = control_plane["spec"]["values"]["global"]
        assert values["multiCluster"]["clusterName"] == f"cluster{number}"
        assert values["network"] == f"network{number}"
        assert values["externalIstiod"] is False
        assert ("network1" in json.dumps(parts[0])) is (number == 1 and mode is LABELS)


def test_a_managed_cluster_names_its_manager_and_is_injected_under_its_own_names(default: Topology) -> None:
    remote = default["remote"]
    annotations = operators.namespace(remote, LABELS)["metadata"]["annotations"]
    assert annotations == {"topology.istio.io/controlPlaneClusters": "primary"}
    assert operators.managed(remote)["spec"]["values"]["istiodRemote"]["injectionPath"] == (
        "/inject/cluster/remote/net/remote-network"
    )


def test_networks_told_in_the_config_map_have_every_cluster_and_every_gateway_of_theirs(
    two_primaries: Topology,
) -> None:
    document = operators.mesh_networks(two_primaries, {"cluster1": Address("192.0.2.1", 31443)})
    networks = yaml.safe_load(document["data"]["meshNetworks"])["networks"]
    assert networks == {
        "network1": {
            "endpoints": [{"fromRegistry": "cluster1"}],
            "gateways": [{"address": "192.0.2.1", "port": 31443}],
        },
        "network2": {"endpoints": [{"fromRegistry": "cluster2"}], "gateways": []},
    }
