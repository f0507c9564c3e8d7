"""A mesh of three clusters, of which two share a network, through small API servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.istio.discover import arrange, read_mesh
from splithorizon.istio.info import Address, NetworkMode
from splithorizon.istio.names import SYSTEM_NAMESPACE
from splithorizon.istio.topology import Route
from splithorizon.mesh import remote_access, settling
from splithorizon.mesh.discovery import Discovery
from splithorizon.mesh.mesh import Mesh
from tests.istio.test_discover import MESH_NETWORKS, mesh_networks, read, two_secrets
from tests.support.existing_mesh import CONTEXTS, follow_remote_secret, installed_mesh
from tests.support.external_istiod import ExternalMesh, external_control_plane
from tests.support.horizons import GATEWAYS, NETWORKS, PODS, VERSIONS
from tests.support.mesh_info import mesh_info
from tests.support.small_api import SmallApi, small_api

_PODS = "/api/v1/namespaces/sample/pods"


@pytest.fixture
def apis(tmp_path: Path) -> Iterator[dict[str, SmallApi]]:
    with ExitStack() as stack:
        made = {name: stack.enter_context(small_api(tmp_path / f"{name}.kubeconfig")) for name in NETWORKS}
        for name, api in made.items():
            host = PODS[name].partition(":")[0]
            metadata = {"name": f"helloworld-{VERSIONS[name]}-x", "namespace": "sample"}
            api.objects[_PODS] = {"items": [{"metadata": metadata, "spec": {}, "status": {"podIP": host}}]}
        yield made


@pytest.fixture
def three(tmp_path: Path, apis: dict[str, SmallApi]) -> Mesh:
    known = mesh_info(tmp_path)
    one = known.clusters["primary"]
    clusters = {
        name: replace(
            one,
            name=name,
            network=network,
            control_plane={"cluster2": "cluster1"}.get(name, name),
            version=VERSIONS[name],
            kubeconfig=tmp_path / f"{name}.kubeconfig",
            gateways=(Address(GATEWAYS[name].partition(":")[0], 15443),),
        )
        for name, network in NETWORKS.items()
    }
    assert apis.keys() == clusters.keys()
    return Mesh(replace(known, clusters=clusters))


def test_each_client_sends_one_batch_for_all_routes_from_it(three: Mesh) -> None:
    assert three.client_routes == (
        Route("cluster1", "cluster3"),
        Route("cluster2", "cluster3"),
        Route("cluster3", "cluster1"),
    )
    assert len(three.pairs) == 6
    assert {route.near for route in three.pairs} == {route.near for route in three.client_routes}


def test_the_horizon_of_a_client_is_what_its_networks_pods_and_the_others_gateways_are_now(three: Mesh) -> None:
    near, far = three.horizon("cluster2"), three.horizon("cluster3")
    assert near.near_pods == {PODS["cluster1"], PODS["cluster2"]}
    assert near.far_gateways == {GATEWAYS["cluster3"]}
    assert far.near_pods == {PODS["cluster3"]}
    assert far.far_gateways == {GATEWAYS["cluster1"], GATEWAYS["cluster2"]}
    assert far.gateways_of("cluster1") == {GATEWAYS["cluster1"]}
    other = Mesh(replace(three.info, network_mode=NetworkMode.MESH_NETWORKS)).horizon("cluster3")
    assert other.gateways_of("cluster1") == far.far_gateways


def test_versions_of_a_shared_far_network_are_told_apart_by_their_own_clients_alone(three: Mesh) -> None:
    assert list(map(sorted, three.version_groups("cluster1"))) == [["v1"], ["v2"], ["v3"]]
    assert list(map(sorted, three.version_groups("cluster3"))) == [["v3"], ["v1", "v2"]]


def test_a_gateway_of_mesh_networks_that_no_named_cluster_has_is_one_of_another_cluster(tmp_path: Path) -> None:
    other = Address("192.0.2.7", 15443)
    with installed_mesh(tmp_path, MESH_NETWORKS) as mesh:
        mesh_networks(
            mesh, lambda found: found["remote-network"]["gateways"].append({"address": other.host, "port": 15443})
        )
        follow_remote_secret(mesh)
        known = Mesh(read(mesh))
        assert other in known.info.clusters["remote"].gateways
        # Without a cluster to be of, it may as well be wrong.
        assert known.gateways_of_unnamed_clusters("remote") == []
        two_secrets(mesh)
        assert known.gateways_of_unnamed_clusters("remote") == [str(other)]
        assert known.gateways_of_unnamed_clusters("primary") == []


def external(found: ExternalMesh, *, named: bool = True) -> Mesh:
    kubes = found.mesh.kubes()
    arranged = arrange(kubes, CONTEXTS, runs_istiod=found.named if named else None)
    return Mesh(read_mesh(kubes, CONTEXTS, namespace="sample", arrangement=arranged))


def test_an_external_istiod_is_asked_where_it_runs(tmp_path: Path) -> None:
    with external_control_plane(tmp_path) as found:
        mesh = external(found)
        istiod = mesh.istiod_of("remote")
        assert {one.cluster_id: one.status for pod in istiod.clusters().values() for one in pod} == {
            "primary": "synced",
            "remote": "synced",
        }
        assert [one.cluster_id for one in istiod.remote_secrets()] == ["remote"]
        assert [one.ready for one in Discovery(mesh).istiod_pods["primary"]] == [True]
        assert mesh.config_clusters[0].kube.kubeconfig == found.mesh.file("primary")
        assert [str(watch) for watch in mesh.watches] == ["istiod of primary watches remote"]
        assert [one.credential.cluster_id for one in remote_access.of_mesh(mesh) if one.credential] == ["remote"]


def test_an_external_istiod_has_networks_of_its_own_config_map_and_of_its_rules(tmp_path: Path) -> None:
    with external_control_plane(tmp_path) as found:
        for api, names in ((found.mesh.primary, ("shared", "ours")), (found.outside, ("shared",))):
            networks = {name: {"gateways": [{"address": api.url, "port": 15443}]} for name in names}
            data = {"meshNetworks": yaml.safe_dump({"networks": networks})}
            api.put("ConfigMap", "istio", SYSTEM_NAMESPACE, data=data)
        read = external(found).istiod_of("primary").mesh_networks()
        assert {name: one["gateways"][0]["address"] for name, one in read.items()} == {
            "shared": found.outside.url,
            "ours": found.mesh.primary.url,
        }


def test_an_istiod_in_a_cluster_that_is_not_named_is_not_asked(tmp_path: Path) -> None:
    with external_control_plane(tmp_path) as found:
        mesh = external(found, named=False)
        assert mesh.istiods == {}
        settling.await_connected(mesh)
        with pytest.raises(EnvironmentBroke, match="runs in a cluster that is not named"):
            mesh.istiod_of("remote")
        assert found.outside.asked == []
