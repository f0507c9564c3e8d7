"""The state of istiod, from answers of Istio 1.29, and the configuration chain that is read from it and elsewhere."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.istio import service_addresses
from splithorizon.istio.info import Address, ClusterInfo, NetworkMode
from splithorizon.kube.client import Kube
from splithorizon.mesh import config_chain
from splithorizon.mesh.config_chain import Setting, Source
from splithorizon.traffic.istiod import ControlPlane, ProxySync, WatchedCluster
from tests.support.manual_clock import ManualClock
from tests.support.small_api import SmallApi

DATA = Path(__file__).parents[1] / "data" / "discovery"
SUCCESS = (3, b'{"status":"Success"}')
PODS = "/api/v1/namespaces/istio-system/pods"
SECRETS = "/api/v1/namespaces/istio-system/secrets"
ISTIOD = {"metadata": {"name": "istiod-1"}}
TERMINATING = {"metadata": {"name": "istiod-0", "deletionTimestamp": "2026-11-23T07:00:00Z"}}
KUBECONFIG = {"clusters": [{"cluster": {"server": "https://10.89.0.94:6443"}}], "users": [{"user": {"token": "t0ken"}}]}
GATEWAY = Address("10.89.0.95", 15443)
FACTS = ClusterInfo(
    name="primary", context="lab-primary", cluster_id="primary", network="primary-network", control_plane="primary",
    version="v1",
    kubeconfig=Path("unused"), kubectl="unused", gateways=(GATEWAY,),
)  # fmt: skip
SLEEP, GATEWAY_POD = "sleep-65d8fc5c64-m7xw4.sample", "istio-eastwestgateway-794bffb7b4-rsdrq.istio-system"


@pytest.fixture
def api(api: SmallApi) -> SmallApi:
    api.objects[PODS] = {"items": [TERMINATING, ISTIOD]}
    return api


@pytest.fixture
def kube(api: SmallApi, tmp_path: Path) -> Kube:
    return Kube(tmp_path / "primary.kubeconfig", "primary", kubectl="kubectl")


@pytest.fixture
def istiod(kube: Kube) -> ControlPlane:
    return ControlPlane(kube, "istio-system", "")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    return ManualClock.installed(monkeypatch)


def answer(api: SmallApi, text: str) -> None:
    api.frames = [(1, text.encode()), SUCCESS]


def test_the_gateways_of_each_network_are_read(api: SmallApi, istiod: ControlPlane) -> None:
    answer(api, (DATA / "networkz.json").read_text())
    assert istiod.network_gateways() == {
        "istiod-1": {
            "remote-network": frozenset({Address("10.89.0.94", 15443)}),
            "primary-network": frozenset({GATEWAY}),
        }
    }
    listed, executed = api.asked
    assert listed[2]["labelSelector"] == ["app=istiod,istio.io/rev=default"]
    assert executed[2]["command"] == ["/usr/local/bin/pilot-discovery", "request", "GET", "/debug/networkz"]


def test_a_gateway_for_tunnels_alone_is_none_for_sidecars(api: SmallApi, istiod: ControlPlane) -> None:
    both = {"Network": "remote-network", "Addr": "10.89.0.94", "Port": 15443, "HBONEPort": 15008}
    tunnels = {"Network": "remote-network", "Addr": "10.89.0.99", "Port": 0, "HBONEPort": 15008}
    answer(api, json.dumps([both, tunnels, {**tunnels, "Network": "third-network"}]))
    assert istiod.network_gateways() == {"istiod-1": {"remote-network": frozenset({Address("10.89.0.94", 15443)})}}


def test_a_gateway_of_mesh_networks_is_not_found_in_a_cluster(api: SmallApi, istiod: ControlPlane) -> None:
    own = {"Network": "remote-network", "Cluster": "remote", "Addr": "10.89.0.94", "Port": 15443}
    answer(api, json.dumps([own, {**own, "Cluster": "", "Addr": "192.0.2.40"}]))
    known = {Address("10.89.0.94", 15443), Address("192.0.2.40", 15443)}
    assert istiod.network_gateways() == {"istiod-1": {"remote-network": known}}
    assert istiod.network_gateways(found_in={"remote"}) == {
        "istiod-1": {"remote-network": {Address("10.89.0.94", 15443)}}
    }


def test_the_version_is_what_the_program_says(api: SmallApi, istiod: ControlPlane) -> None:
    answer(api, '{\n  "clientVersion": {\n    "version": "1.29.1",\n    "revision": "abc"\n  }\n}\n')
    assert istiod.versions() == {"istiod-1": "1.29.1"}
    listed, executed = api.asked
    assert listed[2]["labelSelector"] == ["app=istiod"], "of any revision"
    assert executed[2]["command"] == ["/usr/local/bin/pilot-discovery", "version", "--output", "json"]
    answer(api, "unknown command")
    with pytest.raises(EnvironmentBroke, match="answers version in an unknown format"):
        istiod.versions()


def test_no_gateways_are_an_answer(api: SmallApi, istiod: ControlPlane) -> None:
    answer(api, "null\n")
    assert istiod.network_gateways() == {"istiod-1": {}}


def test_the_watched_clusters_are_read(api: SmallApi, istiod: ControlPlane) -> None:
    answer(api, (DATA / "clusterz.json").read_text())
    synced = (WatchedCluster("primary", "synced"), WatchedCluster("remote", "synced"))
    assert istiod.clusters() == {"istiod-1": synced}


def test_another_revision_is_selected_by_its_label(api: SmallApi, kube: Kube) -> None:
    answer(api, "[]")
    ControlPlane(kube, "istio-system", "canary").clusters()
    assert api.asked[0][2]["labelSelector"] == ["app=istiod,istio.io/rev=canary"]


def test_every_proxy_is_listed_without_clients_of_the_debug_endpoint(api: SmallApi, istiod: ControlPlane) -> None:
    answer(api, (DATA / "syncz.json").read_text())
    proxies = istiod.proxies({SLEEP, GATEWAY_POD})
    assert {proxy.proxy for proxy in proxies} >= {SLEEP, GATEWAY_POD}
    assert {proxy.cluster_id for proxy in proxies} == {"primary", "remote"}
    assert not any(proxy.unacknowledged or proxy.proxy.startswith("test-") for proxy in proxies)
    assert api.asked[0][2]["labelSelector"] == ["app=istiod"]


def test_which_proxies_are_connected_is_asked_by_namespace(api: SmallApi, istiod: ControlPlane) -> None:
    answer(api, (DATA / "syncz.json").read_text())
    assert istiod.connected({SLEEP, GATEWAY_POD, "gone-1.sample"}) == {SLEEP, GATEWAY_POD}
    pages = [asked[2]["command"][-1] for asked in api.asked if "command" in asked[2]]
    assert pages == [f"/debug/syncz?namespace={name}" for name in ("istio-system", "sample")]


def test_a_push_that_is_never_acknowledged_is_listed_after_the_timeout(
    api: SmallApi, istiod: ControlPlane, clock: ManualClock
) -> None:
    syncz = json.loads((DATA / "syncz.json").read_text())
    (sleep,) = (entry for entry in syncz if entry["proxy"] == SLEEP)
    sleep["listener_acked"] = "2026-11-23T06:00:00Z/8"
    del sleep["route_acked"]
    answer(api, json.dumps(syncz))
    lagging = {proxy.proxy: proxy.unacknowledged for proxy in istiod.proxies({SLEEP}) if proxy.unacknowledged}
    assert lagging == {SLEEP: ("listener", "route")}
    assert 8 < clock.now() < 10, "push_acknowledged"


def test_a_push_that_is_acknowledged_in_another_attempt_is_not_listed(
    istiod: ControlPlane, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a mesh with changes, where some push is always pending."""
    pending = cycle([(SLEEP, "endpoints"), (GATEWAY_POD, "endpoints"), (SLEEP, "listener")])

    def proxies(_: ControlPlane) -> tuple[ProxySync, ...]:
        busy, kind = next(pending)
        return tuple(ProxySync(name, "primary", (kind,) if name == busy else ()) for name in (SLEEP, GATEWAY_POD))

    monkeypatch.setattr(ControlPlane, "_proxies", proxies)
    assert not any(proxy.unacknowledged for proxy in istiod.proxies({SLEEP, GATEWAY_POD}))
    assert clock.now() < 1, "the second attempt ends the wait"


def test_a_wanted_proxy_that_is_not_connected_is_waited_for(
    api: SmallApi, istiod: ControlPlane, clock: ManualClock
) -> None:
    answer(api, "null\n")
    assert istiod.proxies({SLEEP}) == ()
    assert 8 < clock.now() < 10, "push_acknowledged"


def test_no_istiod_is_a_broken_environment(api: SmallApi, istiod: ControlPlane) -> None:
    api.objects[PODS] = {"items": [TERMINATING]}
    with pytest.raises(EnvironmentBroke, match="no istiod runs in the primary"):
        istiod.clusters()


def test_an_answer_in_an_unknown_format_is_a_broken_environment(api: SmallApi, istiod: ControlPlane) -> None:
    answer(api, '[{"name": "remote"}]')
    with pytest.raises(EnvironmentBroke, match="answers /debug/clusterz in an unknown format"):
        istiod.clusters()


def secret(data: dict[str, bytes]) -> dict[str, Any]:
    encoded = {key: base64.b64encode(content).decode() for key, content in data.items()}
    return {"metadata": {"name": "istio-remote-secret-remote"}, "data": encoded}


def test_a_remote_secret_is_read_without_its_token(api: SmallApi, istiod: ControlPlane) -> None:
    content = secret({"remote": json.dumps(KUBECONFIG).encode(), "invalid": b"clusters: ["})
    api.objects[SECRETS] = {"items": [content, {"metadata": {"name": "empty"}}]}
    keys = istiod.remote_secrets()
    assert [(key.cluster_id, key.server) for key in keys] == [("remote", "https://10.89.0.94:6443"), ("invalid", "")]
    assert "t0ken" not in repr(keys)


SERVICES = "/api/v1/services"
NAMESPACE = "/api/v1/namespaces/istio-system"
EASTWEST = {
    "metadata": {"name": "istio-eastwestgateway", "namespace": "istio-system", "labels": {}},
    "spec": {"ports": [{"port": 15443}]},
    "status": {"loadBalancer": {"ingress": [{"ip": "10.89.0.95"}]}},
}
MESH_NETWORKS = """
networks:
  primary-network:
    endpoints: [{fromRegistry: primary}]
    gateways: [{address: 10.89.0.95, port: 15443}]
"""


def links(kube: Kube, istiod: ControlPlane, facts: ClusterInfo, mode: NetworkMode) -> dict[Source, list[Setting]]:
    """The chain without istiod's own pages, which all would answer the same here."""
    found: dict[Source, list[Setting]] = {}
    for link in config_chain.settings(
        facts,
        mode,
        kube=kube,
        istiods={"primary": istiod},
        pods=[],
        gateways=facts.gateways,
        cluster_ids={facts.cluster_id},
    ):
        found.setdefault(link.source, []).append(link)
    return found


@pytest.fixture
def labelled(api: SmallApi) -> SmallApi:
    api.objects[NAMESPACE] = {"metadata": {"labels": {"topology.istio.io/network": "primary-network"}}}
    api.objects[SERVICES] = {"items": [EASTWEST]}
    answer(api, "[]")
    return api


def test_labels_and_services_begin_the_chain(labelled: SmallApi, kube: Kube, istiod: ControlPlane) -> None:
    found = links(kube, istiod, FACTS, NetworkMode.LABELS)
    assert list(found) == [Source.NAMESPACE, Source.SERVICE, Source.CLUSTERS, Source.GATEWAYS]
    assert found[Source.NAMESPACE][0].ok
    assert found[Source.SERVICE][0].ok
    assert not found[Source.CLUSTERS][0].ok
    assert str(found[Source.GATEWAYS][0]).endswith("by istiod-1: nothing, not 10.89.0.95:15443")
    asked = [query["labelSelector"] for _, path, query, *_ in labelled.asked if path == SERVICES]
    assert asked == [["topology.istio.io/network=primary-network"]]


def test_a_gateway_that_a_gateway_resource_names_needs_no_labelled_service(
    labelled: SmallApi, kube: Kube, istiod: ControlPlane
) -> None:
    labelled.objects[SERVICES] = {"items": []}
    found = links(kube, istiod, replace(FACTS, named_gateways=FACTS.gateways), NetworkMode.LABELS)
    assert Source.SERVICE not in found
    assert str(found[Source.GATEWAYS][0]).endswith("by istiod-1: nothing, not 10.89.0.95:15443")
    (without,) = links(kube, istiod, FACTS, NetworkMode.LABELS)[Source.SERVICE]
    assert not without.ok


def test_a_gateway_in_a_cluster_that_is_not_named_is_no_wrong_one(
    labelled: SmallApi, kube: Kube, istiod: ControlPlane
) -> None:
    found_by_istiod = {"Network": "primary-network", "Port": 15443}
    own = {**found_by_istiod, "Cluster": FACTS.cluster_id, "Addr": "10.89.0.95"}
    not_named = {**found_by_istiod, "Cluster": "another", "Addr": "10.89.0.96"}
    # One answer for both of istiod's pages.
    pages = [{**one, "id": one["Cluster"], "syncStatus": "synced"} for one in (own, not_named)]
    answer(labelled, json.dumps(pages))
    found = links(kube, istiod, FACTS, NetworkMode.LABELS)
    assert all(link.ok for place in found.values() for link in place)
    answer(labelled, json.dumps([*pages, {**pages[0], "Addr": "10.89.0.97"}]))
    (wrong,) = links(kube, istiod, FACTS, NetworkMode.LABELS)[Source.GATEWAYS]
    assert not wrong.ok


def test_a_network_that_nobody_names_is_never_right(labelled: SmallApi, kube: Kube, istiod: ControlPlane) -> None:
    labelled.objects[NAMESPACE] = {"metadata": {}}
    labelled.objects[SERVICES] = {"items": []}
    found = links(kube, istiod, replace(FACTS, network="", gateways=()), NetworkMode.LABELS)
    assert not any(link.ok for place in found.values() for link in place)
    assert str(found[Source.NAMESPACE][0]) == "label of the system namespace, the primary: nothing, not a name"


def test_in_the_other_mode_the_config_map_takes_the_labels_place(
    api: SmallApi, kube: Kube, istiod: ControlPlane
) -> None:
    answer(api, "[]")
    api.objects["/api/v1/namespaces/istio-system/configmaps/istio"] = {"data": {"meshNetworks": MESH_NETWORKS}}
    found = links(kube, istiod, FACTS, NetworkMode.MESH_NETWORKS)
    assert [link.ok for link in found[Source.MESH_NETWORKS]] == [True, True]
    elsewhere = MESH_NETWORKS.replace("10.89.0.95", "192.0.2.1").replace("fromRegistry: primary", "fromRegistry: x")
    api.objects["/api/v1/namespaces/istio-system/configmaps/istio"] = {"data": {"meshNetworks": elsewhere}}
    found = links(kube, istiod, FACTS, NetworkMode.MESH_NETWORKS)
    assert [link.seen for link in found[Source.MESH_NETWORKS]] == ["", "192.0.2.1:15443"]


def test_a_remote_needs_a_secret_by_its_id(labelled: SmallApi, kube: Kube, istiod: ControlPlane) -> None:
    remote = replace(FACTS, name="remote", cluster_id="remote")
    labelled.objects[SECRETS] = {"items": [secret({"other": b"{}"})]}
    assert [link.seen for link in links(kube, istiod, remote, NetworkMode.LABELS)[Source.REMOTE_KUBECONFIG]] == [
        "other"
    ]
    labelled.objects[SECRETS] = {"items": [secret({"remote": b"{}"})]}
    assert links(kube, istiod, remote, NetworkMode.LABELS)[Source.REMOTE_KUBECONFIG][0].ok


SERVICE = "/api/v1/namespaces/istio-system/services/istiod"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/istio-system/endpointslices"
PORTS = [{"name": "tcp-istiod", "port": 15012}, {"name": "tcp-webhook", "port": 443}]


def test_a_service_is_where_its_endpoint_slices_lead(api: SmallApi, kube: Kube) -> None:
    api.objects[SERVICE] = {"spec": {"ports": PORTS}}
    ready, going = {"addresses": ["10.89.0.95"]}, {"addresses": ["10.10.0.9"], "conditions": {"ready": False}}
    ports = [{"name": "tcp-istiod", "port": 15012}, {"name": "tcp-webhook", "port": 15017}]
    api.objects[SLICES] = {"items": [{"ports": ports, "endpoints": [ready, going]}, {"ports": None, "endpoints": None}]}
    found = service_addresses.resolve(kube, "istiod.istio-system.svc:15012")
    assert found == {Address("10.89.0.95", 15012)}
    assert api.asked[1][2]["labelSelector"] == ["kubernetes.io/service-name=istiod"]
    webhook = service_addresses.resolve(kube, "istiod.istio-system.svc.cluster.local:443")
    assert webhook == {Address("10.89.0.95", 15017)}


def test_a_service_may_be_another_name_or_no_service_or_not_there(api: SmallApi, kube: Kube) -> None:
    api.objects[SERVICE] = {"spec": {"ports": PORTS, "externalName": "istiod.example.com"}}
    assert service_addresses.resolve(kube, "istiod.istio-system.svc:15012") == {Address("istiod.example.com", 15012)}
    del api.objects[SERVICE]
    assert service_addresses.resolve(kube, "istiod.istio-system.svc:15012") == frozenset()
    assert service_addresses.resolve(kube, "192.0.2.7:15012") == {Address("192.0.2.7", 15012)}
    assert service_addresses.resolve(kube, "[2001:db8::7]:15012") == {Address("2001:db8::7", 15012)}
