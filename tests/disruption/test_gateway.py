"""A gateway is found by its pods' labels; a wrong address of it is written where istiod reads it, until the undo."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import yaml

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.disruption.disruption import Disruption
from splithorizon.istio.info import NetworkMode
from tests.disruption.conftest import WatchingMesh
from tests.support.existing_mesh import SYSTEM, Run, TwoClusters

LABELS = {"istio": "eastwestgateway"}
REAL, OTHER = [{"ip": "172.18.0.3"}], [{"ip": "10.0.0.1"}]


def template(**labels: str) -> dict[str, object]:
    return {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}


def ingress(clusters: TwoClusters, name: str) -> object:
    service = clusters.apis["remote"].objects[f"/api/v1/namespaces/istio-system/services/{name}"]
    return service["status"]["loadBalancer"]["ingress"]


def test_the_deployment_is_found_by_the_labels_of_its_pods(clusters: TwoClusters, mesh: WatchingMesh) -> None:
    remote = clusters.apis["remote"]
    remote.put("Deployment", "eastwest", "istio-system", spec=template(**LABELS, app="eastwest"))
    remote.put("Deployment", "ingress", "istio-system", spec=template(istio="ingressgateway"))
    with ExitStack() as undo:
        assert Disruption(mesh, undo, times=100).gateway("remote").deployments == {("eastwest", "istio-system")}


def test_the_deployments_of_a_network_are_counted_without_those_of_others(
    clusters: TwoClusters, mesh: WatchingMesh
) -> None:
    for name in ("one", "other"):
        clusters.apis["primary"].put("Deployment", name, "istio-system", spec=template(**LABELS))
    clusters.apis["remote"].put("Deployment", "eastwest", "istio-system", spec=template(**LABELS))
    with ExitStack() as undo:
        disruption = Disruption(mesh, undo, times=100)
        assert (disruption.gateway_deployments("remote"), disruption.gateway_deployments("primary")) == (1, 2)


@pytest.mark.parametrize("names", [(), ("one", "other")], ids=["none", "two"])
def test_without_one_deployment_nothing_is_scaled(
    clusters: TwoClusters, mesh: WatchingMesh, names: tuple[str, ...]
) -> None:
    for name in names:
        clusters.apis["remote"].put("Deployment", name, "istio-system", spec=template(**LABELS))
    said = f"{len(names)} Deployments make the remote's gateway pods, not one"
    with ExitStack() as undo, pytest.raises(EnvironmentBroke, match=said):
        Disruption(mesh, undo, times=100).gateway("remote").scale(2)


def test_every_service_with_the_gateways_address_gets_another_until_the_undo(
    clusters: TwoClusters, mesh: WatchingMesh
) -> None:
    for name, known in (("eastwest", REAL), ("again", REAL), ("other", OTHER)):
        status = {"loadBalancer": {"ingress": known}}
        clusters.apis["remote"].put("Service", name, "istio-system", spec={}, status=status)
    with ExitStack() as undo:
        Disruption(mesh, undo, times=100).gateway("remote").set_wrong_address()
        assert [ingress(clusters, name) for name in ("eastwest", "again")] == [[{"ip": "127.0.0.9"}]] * 2
        assert ingress(clusters, "other") == OTHER
    assert [ingress(clusters, name) for name in ("eastwest", "again", "other")] == [REAL, REAL, OTHER]


def test_a_gateway_that_no_service_has_the_address_of_cannot_be_given_another(mesh: WatchingMesh) -> None:
    said = "no Service of the remote has its gateway's address"
    with ExitStack() as undo, pytest.raises(EnvironmentBroke, match=said):
        Disruption(mesh, undo, times=100).gateway("remote").set_wrong_address()


def test_in_the_other_mode_the_config_map_of_every_istiod_has_the_wrong_address(
    clusters: TwoClusters, run: Run
) -> None:
    gateways = [{"address": "172.18.0.3", "port": 15443}]
    networks = {"networks": {"remote-network": {"endpoints": [{"fromRegistry": "remote"}], "gateways": gateways}}}
    before = yaml.safe_dump(networks)
    kept = clusters.primary.put("ConfigMap", "istio", SYSTEM, data={"meshNetworks": before})
    with ExitStack() as undo:
        mesh = WatchingMesh(run, network_mode=NetworkMode.MESH_NETWORKS)
        Disruption(mesh, undo, times=100).gateway("remote").set_wrong_address()
        network = yaml.safe_load(kept["data"]["meshNetworks"])["networks"]["remote-network"]
        assert network["gateways"] == [{"address": "127.0.0.9", "port": 15443}]
        assert network["endpoints"] == [{"fromRegistry": "remote"}]
    assert kept["data"]["meshNetworks"] == before
