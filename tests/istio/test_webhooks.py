"""Where injection webhooks lead: the Service, its port and its endpoints, and what is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from splithorizon.istio import webhooks
from splithorizon.istio.info import Address
from splithorizon.kube.client import Kube
from tests.checks.test_security import CHAIN
from tests.support.controllers import encoded
from tests.support.small_api import SmallApi, small_api

SERVICE = {"name": "istiod", "namespace": "istio-system", "path": "/inject"}


def pem() -> str:
    return CHAIN[-1].public_bytes(Encoding.PEM).decode()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[SmallApi]:
    with small_api(tmp_path / "kubeconfig") as server:
        server.versioned = True
        server.put("Service", "istiod", "istio-system", spec={"ports": [{"name": "hook", "port": 443}]})
        server.put(
            "EndpointSlice", "istiod-1", "istio-system", labels={"kubernetes.io/service-name": "istiod"},
            ports=[{"name": "hook", "port": 15017}], endpoints=[{"addresses": ["10.10.0.3"]}],
        )  # fmt: skip
        yield server


def found(api: SmallApi, tmp_path: Path, *clients: dict[str, Any], **webhook: Any) -> list[webhooks.InjectionWebhook]:
    hooks = [{"name": f"{n}.istio.io", "clientConfig": client, **webhook} for n, client in enumerate(clients)]
    labels = {"app": "sidecar-injector", "istio.io/rev": "default"}
    api.put("MutatingWebhookConfiguration", "injector", labels=labels, webhooks=hooks)
    return webhooks.of_revision(Kube(tmp_path / "kubeconfig", "remote"), "")


def test_a_webhook_leads_over_its_service_to_the_endpoints_of_its_port(api: SmallApi, tmp_path: Path) -> None:
    (one,) = found(api, tmp_path, {"service": SERVICE, "caBundle": encoded(pem())})
    assert one.place == "MutatingWebhookConfiguration injector, 0.istio.io"
    assert (one.host, one.addresses, one.problem) == (
        "istiod.istio-system.svc", frozenset({Address("10.10.0.3", 15017)}), ""
    )  # fmt: skip
    assert one.trusted == (CHAIN[-1],)


@pytest.mark.parametrize(
    ("service", "problem"),
    [
        ({"name": "istiod-1-7-0"}, "no Service istio-system/istiod-1-7-0"),
        ({"port": 8443}, "Service istio-system/istiod has no port 8443"),
    ],
)
def test_what_is_not_there_is_named(api: SmallApi, tmp_path: Path, service: dict[str, Any], problem: str) -> None:
    (one,) = found(api, tmp_path, {"service": SERVICE | service})
    assert (one.problem, one.addresses) == (problem, frozenset())


def test_a_service_without_endpoints_leads_nowhere(api: SmallApi, tmp_path: Path) -> None:
    api.objects = {path: one for path, one in api.objects.items() if "endpointslices" not in path}
    (one,) = found(api, tmp_path, {"service": SERVICE})
    assert one.problem == "Service istio-system/istiod has no endpoint for port 443"


def test_a_url_is_followed_by_the_api_server_alone(api: SmallApi, tmp_path: Path) -> None:
    (one,) = found(api, tmp_path, {"url": "https://istiod.example:443/inject"})
    assert (one.host, one.addresses, one.problem) == ("", frozenset(), "")


@pytest.mark.parametrize("bundle", ["", "no base64!", encoded("no certificate")])
def test_a_bundle_that_nobody_can_read_trusts_nothing(api: SmallApi, tmp_path: Path, bundle: str) -> None:
    (one,) = found(api, tmp_path, {"service": SERVICE, "caBundle": bundle})
    assert one.trusted == ()


def test_one_that_is_switched_off_is_left_out(api: SmallApi, tmp_path: Path) -> None:
    never = {"matchLabels": {"istio.io/deactivated": "never-match"}}
    assert found(api, tmp_path, {"service": SERVICE}, namespaceSelector=never) == []
