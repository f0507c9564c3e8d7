"""Faults that traffic does not notice: the next pod or proxy fails."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from proof.faults.discovery import forbid_writing
from proof.faults.registry import fault
from proof.targets import watched, watching
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.diagnosis import causes
from splithorizon.istio import names
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.security import MeshSecurity
from splithorizon.undo import mutations

_WEBHOOKS = "MutatingWebhookConfiguration"
# Where a gateway answers for its own readiness, without TLS.
_READINESS_PORT = 15021


@fault(
    "test_new_pods_are_injected",
    cause=causes.WEBHOOK_LEADS_NOWHERE,
    root_cause=causes.WEBHOOK_LEADS_NOWHERE,
    cites=[
        (f"{_WEBHOOKS} remote/", "clientConfig.service.name", "istiod-1-7-0"),
        ("Services remote/istio-system", "metadata.name", "istiod"),
    ],
)
def webhook_leads_nowhere(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's injection webhooks name the Service of an istiod that was removed: what runs goes on."""
    _lead_webhooks(mesh, {"name": "istiod-1-7-0"}, undo)


@fault(
    "test_new_pods_are_injected",
    "test_webhooks_trust_the_mesh_root",
    causes={
        "test_new_pods_are_injected": causes.ISTIOD_MAY_NOT_WRITE,
        "test_webhooks_trust_the_mesh_root": causes.ROOTS_DIFFER,
    },
    cause=causes.ISTIOD_MAY_NOT_WRITE,
    root_cause=causes.ISTIOD_MAY_NOT_WRITE,
    cites=[
        (f"{_WEBHOOKS} remote/", "caBundle", "SHA-256"),
        ("ClusterRole remote/istio-reader-clusterrole", "rules", "mutatingwebhookconfigurations: [get, list, watch]"),
    ],
)
def webhook_trusts_another_root(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's injection webhooks have another root as their CA bundle, and istiod may not correct it."""
    forbid_writing("mutatingwebhookconfigurations", mesh, undo)
    _, root = MeshSecurity(mesh).impostor(watched(mesh).name).chain
    bundle = base64.b64encode(root.public_bytes(Encoding.PEM)).decode()
    kube = watched(mesh).kube
    for found in kube.list(_WEBHOOKS, labels="app=sidecar-injector"):
        webhooks = [{**one, "clientConfig": one["clientConfig"] | {"caBundle": bundle}} for one in found["webhooks"]]
        mutations.patch(kube, _WEBHOOKS, found["metadata"]["name"], None, {"webhooks": webhooks}, undo)


@fault(
    "test_new_pods_are_injected",
    cause=causes.PROXY_NETWORK_WRONG,
    root_cause=causes.PROXY_NETWORK_WRONG,
    cites=[(f"{_WEBHOOKS} remote/", "clientConfig.service.path", "/inject/cluster/remote/net/former-network")],
)
def webhook_names_another_network(mesh: Mesh, undo: ExitStack) -> None:
    """The path of the remote's injection webhooks names a network that was renamed: new sidecars would be in it."""
    cluster_id = watched(mesh).info.cluster_id
    _lead_webhooks(mesh, {"path": f"/inject/cluster/{cluster_id}/net/former-network"}, undo)


@fault(
    "test_new_proxies_reach_istiod",
    cause=causes.ISTIOD_PORT_LEADS_ELSEWHERE,
    root_cause=causes.ISTIOD_PORT_LEADS_ELSEWHERE,
    cites=[
        ("Service primary/istio-system/istio-eastwestgateway", ".targetPort", "15021 for port 15012"),
        ("Envoy primary/istio-system/istio-eastwestgateway", "listeners", "15021"),
    ],
)
def istiod_port_leads_elsewhere(mesh: Mesh, undo: ExitStack) -> None:
    """The primary's gateway sends 15012 to its own readiness port: proxies that are connected stay so."""
    _lead_gateway_port(mesh, 15012, undo)


@fault(
    "test_new_proxies_reach_istiod",
    cause=causes.ISTIOD_PORT_LEADS_ELSEWHERE,
    root_cause=causes.ISTIOD_PORT_LEADS_ELSEWHERE,
    cites=[("Service primary/istio-system/istio-eastwestgateway", ".targetPort", "15021 for port 15017")],
)
def webhook_port_leads_elsewhere(mesh: Mesh, undo: ExitStack) -> None:
    """The primary's gateway sends 15017 to its own readiness port: the remote's webhooks reach no istiod."""
    _lead_gateway_port(mesh, 15017, undo)


def _lead_webhooks(mesh: Mesh, service: Mapping[str, Any], undo: ExitStack) -> None:
    """Change the Service that the remote's injection webhooks name."""
    kube = watched(mesh).kube
    for found in kube.list(_WEBHOOKS, labels="app=sidecar-injector"):
        webhooks = [
            {**one, "clientConfig": one["clientConfig"] | {"service": one["clientConfig"]["service"] | service}}
            for one in found["webhooks"]
        ]
        mutations.patch(kube, _WEBHOOKS, found["metadata"]["name"], None, {"webhooks": webhooks}, undo)


def _lead_gateway_port(mesh: Mesh, number: int, undo: ExitStack) -> None:
    """Send a port of the primary's gateway to where the gateway answers for its own readiness."""
    kube, namespace = watching(mesh).kube, watching(mesh).system_namespace
    service = kube.get("Service", names.EASTWEST_GATEWAY, namespace)
    if service is None:
        raise EnvironmentBroke(f"there is no Service {namespace}/{names.EASTWEST_GATEWAY} to break")
    ports = [
        {**port, "targetPort": _READINESS_PORT} if port["port"] == number else port for port in service["spec"]["ports"]
    ]
    mutations.patch(kube, "Service", names.EASTWEST_GATEWAY, namespace, {"spec": {"ports": ports}}, undo)
