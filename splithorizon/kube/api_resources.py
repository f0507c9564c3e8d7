"""The API group, version and path of each kind.

A fixed table, because the client library's discovery sends 23 requests before its first answer (measured with
Kubernetes 1.34) and keeps a world-readable cache under an address that another cluster may get later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_API_OF = {
    kind: api
    for api, kinds in {
        "v1": "ConfigMap Endpoints Event Namespace Node Pod ResourceQuota Secret Service ServiceAccount",
        "admissionregistration.k8s.io/v1": ("MutatingWebhookConfiguration ValidatingWebhookConfiguration"),
        "apiextensions.k8s.io/v1": "CustomResourceDefinition",
        "apps/v1": "DaemonSet Deployment ReplicaSet",
        "autoscaling/v2": "HorizontalPodAutoscaler",
        "coordination.k8s.io/v1": "Lease",
        "discovery.k8s.io/v1": "EndpointSlice",
        "multicluster.x-k8s.io/v1alpha1": "ServiceExport",
        "networking.istio.io/v1": ("DestinationRule Gateway ServiceEntry Sidecar VirtualService WorkloadEntry"),
        "networking.istio.io/v1alpha3": "EnvoyFilter",
        "networking.istio.io/v1beta1": "ProxyConfig",
        "networking.k8s.io/v1": "NetworkPolicy",
        "rbac.authorization.k8s.io/v1": "ClusterRole ClusterRoleBinding Role RoleBinding",
        "security.istio.io/v1": "AuthorizationPolicy PeerAuthentication RequestAuthentication",
        "telemetry.istio.io/v1": "Telemetry",
    }.items()
    for kind in kinds.split()
}
CLUSTER_SCOPED = frozenset(
    {
        "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Namespace", "Node",
        "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
    }
)  # fmt: skip


def path_of(kind: str, namespace: str | None, name: str = "", *, api: str = "") -> str:
    """The path of one object, or without a name that of all objects of a kind.

    ``api`` is the group and version. Without it, an unknown kind raises KeyError.
    """
    api = api or _API_OF[kind]
    parts = ["/api" if "/" not in api else "/apis", api]
    if namespace and kind not in CLUSTER_SCOPED:
        parts += ["namespaces", namespace]
    return "/".join([*parts, _plural(kind), *([name] if name else [])])


def resource_of(kind: str) -> tuple[str, str]:
    """The API group of a kind, empty for the core's, and the name of its resource; raises KeyError if unknown."""
    group, _, _ = _API_OF[kind].rpartition("/")
    return group, _plural(kind)


def _plural(kind: str) -> str:
    word = kind.lower()
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{word[:-1]}ies"
    return word if word.endswith("endpoints") else f"{word}s"


def namespace_of(document: Mapping[str, Any], default: str | None) -> str | None:
    """The namespace of an object: its own, or else ``default``; None for a cluster-scoped kind."""
    return None if document["kind"] in CLUSTER_SCOPED else document["metadata"].get("namespace") or default
