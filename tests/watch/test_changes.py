from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from splithorizon.istio.info import Address, ClusterInfo, Selection
from splithorizon.kube.client import Kube
from splithorizon.watch.changes import (
    ADDRESSES,
    GATEWAYS,
    ISTIOD,
    ChangeFinder,
    ClusterReader,
    Seen,
    pods_by_name,
)
from tests.support.small_api import SmallApi, small_api

SYSTEM = "istio-system"
LABELS = {"app": "istio-eastwestgateway", "istio": "eastwestgateway"}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[SmallApi]:
    with small_api(tmp_path / "kubeconfig") as server:
        server.versioned = True
        yield server


@pytest.fixture
def reader(api: SmallApi, tmp_path: Path) -> ClusterReader:
    info = ClusterInfo(
        name="remote", context="kind-remote", cluster_id="remote", network="remote-network", control_plane="primary",
        version="v2", kubeconfig=tmp_path / "kubeconfig", kubectl="kubectl", gateways=(Address("10.89.0.14", 15443),),
        gateway_pods=(Selection(SYSTEM, "istio=eastwestgateway"),),
    )  # fmt: skip
    return ClusterReader(Kube(tmp_path / "kubeconfig", "remote"), info, "sample")


def read(reader: ClusterReader, subject: str) -> Seen:
    return dict(reader.read({**reader.often, **reader.seldom}))[subject]


def put_pod(
    api: SmallApi, name: str, *, ready: bool = True, restarts: int = 0, labels: Mapping[str, str]
) -> dict[str, Any]:
    return api.put(
        "Pod", name, SYSTEM, labels={"istio.io/rev": "default", **labels},
        spec={"containers": [{"name": "istio-proxy", "image": "hub/proxyv2:1.29.1"}]},
        status={
            "phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"name": "istio-proxy", "ready": ready, "restartCount": restarts, "state": {}}],
        },
    )  # fmt: skip


def test_a_pod_is_described_by_version_revision_restarts_and_state(api: SmallApi, reader: ClusterReader) -> None:
    put_pod(api, "gateway-1", labels=LABELS)
    ending = put_pod(api, "gateway-2", restarts=2, labels=LABELS)
    ending["metadata"]["deletionTimestamp"] = "2026-11-27T12:00:00Z"
    put_pod(api, "istiod-1", ready=False, labels={"app": "istiod"})
    seen = read(reader, GATEWAYS)
    assert seen.things == {
        "gateway-1": "proxyv2:1.29.1, revision default, ready",
        "gateway-2": "proxyv2:1.29.1, revision default, 2 restarts, ending",
    }
    assert not seen.settled
    assert read(reader, ISTIOD).things == {"istiod-1": "proxyv2:1.29.1, revision default, not ready"}


def test_addresses_are_those_of_the_gateways_services(api: SmallApi, reader: ClusterReader) -> None:
    def put_service(name: str, selector: dict[str, str], *ips: str) -> None:
        ingress = {"loadBalancer": {"ingress": [{"ip": ip} for ip in ips]}}
        api.put("Service", name, SYSTEM, spec={"selector": selector}, status=ingress)

    put_service("istio-eastwestgateway", LABELS, "10.89.0.14")
    put_service("istio-ingressgateway", {"istio": "ingressgateway"}, "10.89.0.99")
    assert read(reader, ADDRESSES).things == {"istio-eastwestgateway": "10.89.0.14"}
    assert reader.gateway_addresses() == {"10.89.0.14:15443"}
    put_service("istio-eastwestgateway", LABELS, "10.89.0.14", "fd00::5")
    assert reader.gateway_addresses() == {"10.89.0.14:15443", "[fd00::5]:15443"}
    put_service("istio-eastwestgateway", LABELS)
    assert read(reader, ADDRESSES).things == {"istio-eastwestgateway": "none"}


def test_secrets_and_webhooks_are_read_by_metadata_alone(api: SmallApi, reader: ClusterReader) -> None:
    api.put("Secret", "cacerts", SYSTEM, data={"ca-key.pem": "c2VjcmV0"})
    api.put("Secret", "splithorizon-undo-1", SYSTEM)
    api.put("MutatingWebhookConfiguration", "istio-sidecar-injector")
    api.put("MutatingWebhookConfiguration", "another")
    assert list(read(reader, "Secrets").things) == ["cacerts"]
    assert list(read(reader, "webhooks").things) == ["istio-sidecar-injector"]
    for path in ("/secrets", "/deployments", "/daemonsets", "configurations"):
        accepted = {headers["Accept"] for _, asked, _, headers, _ in api.asked if asked.endswith(path)}
        assert accepted == {"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}, path


def test_the_configuration_of_the_mesh_is_that_of_its_istiod(api: SmallApi, reader: ClusterReader) -> None:
    assert read(reader, "mesh configuration").things == {}
    kept = api.put("ConfigMap", "istio", SYSTEM, data={"mesh": "{}"})
    version = kept["metadata"]["resourceVersion"]
    assert read(reader, "mesh configuration").things == {"istio": f"version {version}"}


def test_what_may_not_be_read_is_named_once_and_left_out(api: SmallApi, reader: ClusterReader) -> None:
    api.denies = lambda asked: asked.get("resource") == "secrets"
    assert "Secrets" not in dict(reader.read(reader.seldom))
    assert "HTTP 403" in reader.refused["Secrets"]
    asked = len(api.requests("GET", "/secrets"))
    assert "webhooks" in dict(reader.read(reader.seldom))
    assert len(api.requests("GET", "/secrets")) == asked == 1


def test_the_first_reading_is_no_change_and_the_next_is_compared_with_it() -> None:
    finder = ChangeFinder("remote")
    assert list(finder.compare(GATEWAYS, Seen({"a": "ready"}), asked=10, answered=10.1)) == []
    assert list(finder.compare(GATEWAYS, Seen({"a": "ready"}), asked=12, answered=12.1)) == []
    found = list(
        finder.compare(GATEWAYS, Seen({"a": "ending", "b": "not ready"}, settled=False), asked=14, answered=15)
    )
    assert [one.text for one in found] == ["a: ready → ending", "b is new (not ready)"]
    # It came about between two readings.
    assert {(one.after, one.seen, one.settled) for one in found} == {(12, 15, False)}


def test_a_reading_that_failed_leaves_a_longer_bracket() -> None:
    finder = ChangeFinder("remote")
    list(finder.compare(GATEWAYS, Seen({}), asked=10, answered=10.1))
    (change,) = finder.compare(GATEWAYS, Seen({"a": ""}), asked=40, answered=40.1)
    assert (change.after, change.seen) == (10, 40.1)


def test_counts_are_of_interest_only_where_there_are_several() -> None:
    assert pods_by_name({"1.28.3": 12}) == pods_by_name({"1.28.3": 14}) == {"1.28.3": "every pod"}
    assert pods_by_name({"1.29.1": 2, "1.28.3": 12}) == {"1.28.3": "12 pods", "1.29.1": "2 pods"}
