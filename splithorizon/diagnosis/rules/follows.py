"""What follows from a cause, by the ids of the causes that checks name for it."""

from __future__ import annotations

from splithorizon.diagnosis import causes as c

UNREACHED = frozenset(
    one.id
    for one in (
        c.REMOTE_SECRET_MISSING, c.REMOTE_SECRET_REFUSED, c.REMOTE_SECRET_KEY_WRONG, c.CLUSTER_NOT_SYNCED,
        c.SERVICE_NOT_SENT, c.PUSH_LATE, c.POD_NOT_READY, c.PODS_NOT_SERVING, c.LOCALITY_PREFERRED,
        c.ENDPOINTS_WEIGHTED,
        c.GATEWAY_SERVICE_WITHOUT_NETWORK, c.GATEWAY_SERVICE_WITHOUT_ADDRESS, c.POD_WITHOUT_NETWORK,
        c.MESH_NETWORKS_WITHOUT_GATEWAY, c.MESH_NETWORKS_REGISTRY_WRONG, c.GATEWAY_ADDRESS_WRONG,
        c.SERVICES_NOT_EXPOSED,
        c.GATEWAY_NOT_SERVING, c.GATEWAY_NOT_LISTENING, c.GATEWAY_WITHOUT_TLS, c.GATEWAY_CONNECTION_BROKEN,
        c.BALANCED_WITHOUT_WEIGHTS, c.POD_WITHOUT_SIDECAR, c.STALE_ENDPOINT, c.ENDPOINT_EJECTED, c.STRANGE_POD,
        c.NO_MUTUAL_TLS, c.SERVICE_NOT_EXPORTED, c.GATEWAY_NAME_CHANGED, c.CONNECTION_CUT,
        c.GATEWAY_ADDRESS_REFUSES, c.CONNECTIONS_DROPPED,
    )
)  # fmt: skip
"""Endpoints are missing, wrong, or not reached: one version answers alone, or requests are lost."""

REFUSED = (
    frozenset(one.id for one in (c.POLICY_DENIES, c.PODS_NOT_SERVING, c.GATEWAY_NOT_SERVING, c.SERVICE_NOT_SENT))
    | UNREACHED
)
"""Requests are answered by somebody else than the service."""

INJECTION = frozenset(
    one.id
    for one in (
        c.ISTIOD_MAY_NOT_WRITE, c.CLUSTER_NOT_SYNCED, c.WEBHOOK_ORPHANED, c.WEBHOOK_NOT_CALLED, c.ROOTS_DIFFER,
        c.POD_WITHOUT_SIDECAR, c.POD_REFUSES_SIDECAR, c.NAMESPACE_NOT_INJECTED,
    )
)  # fmt: skip
"""Pods come without a sidecar, or not at all."""

WATCH = UNREACHED | frozenset(
    one.id
    for one in (
        c.WATCH_CLOSED, c.WATCH_HANGS, c.API_SERVER_UNREACHABLE, c.REMOTE_SECRET_AT_LOOPBACK, c.ISTIOD_MAY_NOT_WRITE,
        c.REMOTE_SECRET_WITHOUT_KUBECONFIG, c.REMOTE_NAMED_TWICE, c.PROXY_REFUSED, c.ISTIOD_UNREACHABLE,
        c.ISTIOD_ADDRESS_STALE, c.NO_CLIENT_CERTIFICATE_DEMANDED, c.POD_FORWARDS,
    )
)  # fmt: skip
"""istiod does not watch a cluster: everything of that cluster is stale or gone."""
