"""Which rules bind the requests of clients for a host, and how these requests ended by the clients' logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from splithorizon.diagnosis import scope, state
from splithorizon.diagnosis.finding import Case
from splithorizon.diagnosis.reading.model import (
    CLIENT,
    SERVER,
    Cluster,
    LogCount,
    Object,
    Reading,
    labels_of,
    namespace_of,
    spec_of,
)

# Seconds in which a connection is made wherever the other side answers; the mesh's own limit is 10.
MADE_AT_ONCE = 1.0


def rules_for(reading: Reading, kind: str, host: str) -> Iterator[tuple[Cluster, Object]]:
    """The rules of a kind that are in force for clients and mean a host."""
    for plane, one in reading.configs(kind):
        spec = spec_of(one)
        own = namespace_of(one)
        hosts = (
            [str(spec.get("host", ""))]
            if kind == "DestinationRule"
            else [str(name) for name in spec.get("hosts") or []]
        )
        if not any(scope.rule_means(one, name, host, reading.domain) for name in hosts):
            continue
        default = state.mesh_config(reading, plane).get(f"default{kind}ExportTo")
        if not any(scope.exported_to(spec.get("exportTo") or default, own, one) for one in reading.client_namespaces):
            continue
        known = (*reading.client_namespaces, reading.namespace, state.root_namespace(reading, plane))
        if kind == "DestinationRule" and own not in known:
            continue
        if kind == "VirtualService" and "mesh" not in (spec.get("gateways") or ["mesh"]):
            continue
        if (wanted := scope.selector_of(one)) and not is_of_a_client(reading, plane, wanted, own):
            continue
        yield plane, one


def is_of_a_client(reading: Reading, plane: Cluster, labels: Mapping[str, str], namespace: str = "") -> bool:
    """Whether a client of a control plane has these labels, and is in the namespace, if one is named."""
    return any(
        labels.items() <= labels_of(cluster.get("Pod", proxy.pod, proxy.namespace) or {}).items()
        for cluster in state.managed_by(reading, plane)
        for proxy in cluster.of(CLIENT)
        if namespace in ("", proxy.namespace)
    )


def sidecar_of(plane: Cluster, root: str, namespace: str, labels: Mapping[str, str]) -> Object | None:
    """The Sidecar in force for a pod: with a selector before the namespace's own, and that before the mesh's."""
    found = [one for one in plane.all("Sidecar") if scope.binds(one, root, namespace, labels)]
    mine = [one for one in found if namespace_of(one) == namespace]
    for choice in ([one for one in mine if scope.selector_of(one)], mine, found):
        if choice:
            return min(choice, key=lambda one: str(one["metadata"].get("creationTimestamp", "")))
    return None


def pool_of(sidecar: Object, port: int) -> tuple[str, Mapping[str, Any]] | None:
    """The limits of a Sidecar for a port of its pods, with their place; they replace those of DestinationRules."""
    for number, entry in enumerate(spec_of(sidecar).get("ingress") or []):
        if (entry.get("port") or {}).get("number") == port and entry.get("connectionPool"):
            return f"spec.ingress[{number}].connectionPool", entry["connectionPool"]
    pool = spec_of(sidecar).get("inboundConnectionPool")
    return ("spec.inboundConnectionPool", pool) if pool else None


_LIMITS = (
    "tcp.maxConnections", "http.http1MaxPendingRequests", "http.http2MaxRequests", "http.maxRequestsPerConnection",
    "http.maxRetries", "http.maxConcurrentStreams",
)  # fmt: skip


def limits_of(pool: Mapping[str, Any]) -> dict[str, Any]:
    """What a connection pool limits, by the path of its field."""
    found = ((field, (pool.get(field.partition(".")[0]) or {}).get(field.partition(".")[2])) for field in _LIMITS)
    return {field: value for field, value in found if value}


def overflow_at_servers(cluster: Cluster, pod: str = "") -> str:
    """A sentence on requests that a server's sidecar, or one pod's, refused because its pool was full; or empty."""
    for proxy in cluster.of(SERVER):
        for line in state.logged(proxy, flags=("UO",)):
            if pod in ("", proxy.pod):
                return f"{line.count} requests ended with {line.code} {line.flags} at the sidecar of {proxy.pod}"
    return ""


def of_clients(case: Case, plane: Cluster) -> Case:
    """The case as the clients of a control plane have it: they alone are bound by its rules for clients.

    A failed check of a route from elsewhere, or of a client elsewhere, does not follow from such a rule.
    """
    others = {one.name for one in case.reading.clusters if one.control_plane != plane.name}
    return Case(
        state.seen_by_clients_of(case.reading, plane),
        tuple(one for one in case.symptoms if one.route.partition("→")[0] not in others),
    )


def failing(
    reading: Reading, host: str, flags: tuple[str, ...], meant: Callable[[LogCount], bool] = lambda _: True
) -> str:
    """A sentence on requests for a host that ended with one of the flags, by clients' logs; empty without any.

    Only lines that are ``meant`` count.
    """
    for client, proxy in state.clients(reading):
        for line in filter(meant, state.logged(proxy, flags=flags, host=host)):
            return f"{line.count} requests of {client.name}'s {proxy.pod} ended with {line.code} {line.flags}"
    return ""


def failing_code(reading: Reading, host: str, meant: Callable[[LogCount], bool] = lambda _: True) -> str:
    """A sentence on requests for a host that ended with an error status, by clients' logs; empty without any.

    Only lines that are ``meant`` count.
    """
    for client, proxy in state.clients(reading):
        for line in filter(meant, state.logged(proxy, host=host)):
            if line.code >= 400:
                return f"{line.count} requests of {client.name}'s {proxy.pod} ended with {line.code} {line.details}"
    return ""
