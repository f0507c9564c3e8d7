"""Reads what an Envoy holds of the Services that are diagnosed, and what it logged of them."""

from __future__ import annotations

import base64
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from splithorizon.base.addresses import host_port
from splithorizon.diagnosis.reading.budget import Budget
from splithorizon.diagnosis.reading.control_plane import Attempt, asked, envoy, log_of
from splithorizon.diagnosis.reading.model import CLIENT, GATEWAY, SERVER, Host, LogCount, Object, Proxy
from splithorizon.kube.client import Kube
from splithorizon.kube.pod_status import SIDECAR
from splithorizon.traffic import access_log
from splithorizon.traffic.proxy import expected_identities

_LINES = "6000"
_LOG_BYTES = 4 * 1024 * 1024
_HEALTHY = {"eds_health_status": "HEALTHY"}
# Envoy's sentences contain addresses and ids: their first characters are the same for one kind of failure.
_FAILURE = 90
_OWN_SECRETS = ("default", "ROOTCA")
_SECRETS = "/config_dump?resource=dynamic_active_secrets"
_METADATA = ("NETWORK", "CLUSTER_ID", "LABELS", "ISTIO_VERSION", "REQUESTED_NETWORK_VIEW", "UNPRIVILEGED_POD")


@dataclass(frozen=True)
class Wanted:
    """What is kept of an Envoy's pages and log: what is about these hosts and ports, and logged since a moment.

    ``ports`` are those of the hosts, or those at which a gateway listens for other networks. Without ``since`` the
    whole log is read.
    """

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    since: datetime | None

    @property
    def any_host(self) -> str:
        """A regular expression for any of the hosts."""
        return "|".join(re.escape(host) for host in self.hosts)

    @property
    def any_port(self) -> str:
        """A regular expression for any of the ports."""
        return "|".join(map(str, self.ports)) or "0"

    def names(self, name: str) -> bool:
        """Whether the name of an Envoy cluster, or a domain, is about one of the hosts."""
        return re.search(rf"(^|[|_.])({self.any_host})(:|$)", name) is not None


def read(kube: Kube, kind: str, namespace: str, pod: str, *, wanted: Wanted, budget: Budget, attempt: Attempt) -> Proxy:
    """The pages of one Envoy, cut down to what is wanted, and its log."""
    pages = _read_pages(
        kind,
        wanted,
        lambda name, path: attempt(
            f"{name} of {namespace}/{pod}", lambda: asked(kube, envoy(namespace, pod), path, budget)
        ),
    )
    log = attempt(f"log of {namespace}/{pod}", lambda: _log(kube, namespace, pod, wanted.since, budget))
    # A gateway may hold credentials for other hosts too.
    secrets = [one for one in _configs(pages, "secrets") if one.get("name") in _OWN_SECRETS]
    return Proxy(
        kind,
        pod,
        namespace,
        metadata={key: value for key, value in _metadata(pages.get("identity", {})).items() if key in _METADATA},
        endpoints={
            one["name"]: tuple(map(_host, one.get("host_statuses", [])))
            for one in pages.get("clusters", {}).get("cluster_statuses", [])
            if wanted.names(one["name"]) or (kind == SERVER and one["name"].startswith("inbound"))
        },
        clusters={
            one["cluster"]["name"]: _cluster(one["cluster"])
            for one in _configs(pages, "config")
            if wanted.names(str(one.get("cluster", {}).get("name", "")))
        },
        hosts=tuple(
            virtual
            for one in _configs(pages, "routes")
            for virtual in one.get("route_config", {}).get("virtual_hosts", [])
            if any(map(wanted.names, virtual.get("domains", [])))
        ),
        listeners=tuple(_listener(one, wanted) for one in _configs(pages, "listeners") if "active_state" in one),
        listening={
            int(one["local_address"]["socket_address"]["port_value"]): str(one.get("name", ""))
            for one in pages.get("listening", {}).get("listener_statuses", [])
            if "socket_address" in one.get("local_address", {})
        },
        certificate=_inline(secrets, "tls_certificate", "certificate_chain"),
        trusted=_inline(secrets, "validation_context", "trusted_ca"),
        rejected=tuple(_rejected(_configs(pages, "warming", "config", "listeners", "routes"))),
        log=log or (),
        read=(*pages, *(["log"] if log is not None else [])),
    )


def _read_pages(kind: str, wanted: Wanted, page: Callable[[str, str], Any]) -> dict[str, Any]:
    """The pages of an Envoy's administration that were answered, by name; ``page`` reads one by its path."""
    host, port = wanted.any_host, wanted.any_port
    clusters = quote(f"inbound|{host}" if kind == SERVER else host)
    paths = {
        "clusters": f"/clusters?format=json&filter={clusters}",
        "config": _dump("dynamic_active_clusters", f".*({host}).*"),
        "warming": _dump("dynamic_warming_clusters", ".*"),
    }
    if kind == CLIENT:
        paths["routes"] = _dump("dynamic_route_configs", f".*({port}|{host}).*")
    paths["listeners"] = _dump("dynamic_listeners", ".*virtualInbound$" if kind == SERVER else f".*_({port})$")
    if kind == GATEWAY:
        paths["listening"] = "/listeners?format=json"
    paths |= {"identity": "/server_info", "secrets": _SECRETS}
    return {name: found for name, path in paths.items() if (found := page(name, path)) is not None}


def _inline(secrets: Iterable[Object], kind: str, part: str) -> str:
    """The PEM text of a part of the first secret of a kind; Envoy itself blanks the keys in its answer."""
    for one in secrets:
        source = ((one.get("secret") or {}).get(kind) or {}).get(part) or {}
        if encoded := source.get("inline_bytes"):
            return base64.b64decode(encoded).decode()
    return ""


def _dump(resource: str, name: str) -> str:
    return f"/config_dump?resource={resource}&name_regex={quote(name)}"


def _configs(pages: Mapping[str, Any], *names: str) -> list[Object]:
    """What the pages of these names list."""
    return [one for name in names for one in pages.get(name, {}).get("configs") or []]


def _metadata(identity: Mapping[str, Any]) -> Object:
    found: Object = (identity.get("node") or {}).get("metadata") or {}
    return found


def _rejected(configs: Iterable[Object]) -> Iterable[Object]:
    """What Envoy refused when it was last sent, with its reason."""
    for one in configs:
        if state := one.get("error_state"):
            failed = state.get("failed_configuration") or {}
            name = one.get("name") or failed.get("name") or one.get("cluster", {}).get("name") or ""
            yield {"name": name, "details": str(state.get("details", ""))[:500]}


def _host(one: Mapping[str, Any]) -> Host:
    place = one["address"].get("socket_address") or {"address": "", "port_value": 0}
    counts = {stat["name"]: int(stat.get("value", 0)) for stat in one.get("stats", [])}
    health = one.get("health_status", {})
    locality = one.get("locality") or {}
    return Host(
        host_port(place["address"], place["port_value"]),
        weight=int(one.get("weight", 1)),
        priority=int(one.get("priority", 0)),
        locality="/".join(str(locality[key]) for key in ("region", "zone", "sub_zone") if locality.get(key)),
        health=()
        if health == _HEALTHY
        else tuple(sorted(name if value is True else f"{name} {value}" for name, value in health.items())),
        requests=counts.get("rq_total", 0),
        successes=counts.get("rq_success", 0),
        errors=counts.get("rq_error", 0),
        connect_failures=counts.get("cx_connect_fail", 0),
        connections=counts.get("cx_total", 0),
    )


def _cluster(config: Mapping[str, Any]) -> Object:
    """A cluster's configuration without its certificates' sources, which are long and all alike.

    Of its TLS it keeps the identities that servers must have one of.
    """
    kept = {
        key: value
        for key, value in config.items()
        if key not in ("transport_socket_matches", "transport_socket", "@type")
    }
    sockets = [match.get("transport_socket") or {} for match in config.get("transport_socket_matches", [])]
    sockets += [one] if (one := config.get("transport_socket")) else []
    return {
        **kept,
        "transport_sockets": [socket.get("name") for socket in sockets],
        "expected_identities": sorted(expected_identities(config)),
    }


def _listener(one: Mapping[str, Any], wanted: Wanted) -> Object:
    """A listener by its chains: what they match, which filters they have, and what is special about these."""
    listener = one["active_state"].get("listener") or {}
    chains = list(listener.get("filter_chains", []))
    default = listener.get("default_filter_chain")
    return {
        "name": one.get("name", ""),
        "chains": [
            _chain(chain)
            for chain in chains
            if not (names := chain.get("filter_chain_match", {}).get("server_names")) or any(map(wanted.names, names))
        ],
        "all_chains": len(chains),
        "default": _chain(default) if default else None,
    }


def _chain(chain: Mapping[str, Any]) -> Object:
    socket = chain.get("transport_socket") or {}
    tls = socket.get("typed_config") or {}
    return {
        "match": chain.get("filter_chain_match", {}),
        "filters": [one.get("name", "") for one in chain.get("filters", [])],
        "settings": {
            one["name"]: one["typed_config"]
            for one in (*_nested(chain), *chain.get("filters", []))
            if one.get("name") not in _ORDINARY and one.get("typed_config")
        },
        "http_filters": [one.get("name", "") for one in _nested(chain)],
        "routes": [_route_name(one) for one in chain.get("filters", []) if _route_name(one)],
        "access_log": [_log_format(one) for one in _access_logs(chain)],
        "tls": {
            "socket": socket.get("name", ""),
            "client_certificate": tls.get("require_client_certificate"),
            "verification": (
                ((tls.get("common_tls_context") or {}).get("combined_validation_context") or {}).get(
                    "default_validation_context"
                )
                or {}
            ).get("trust_chain_verification"),
        },
    }


_ORDINARY = frozenset(
    {
        "envoy.filters.network.http_connection_manager", "envoy.filters.network.tcp_proxy", "envoy.filters.http.router",
        "envoy.filters.http.grpc_stats", "envoy.filters.http.cors", "istio.stats", "istio.metadata_exchange",
        "envoy.filters.http.alpn", "istio.alpn",
    }
)  # fmt: skip


def _nested(chain: Mapping[str, Any]) -> list[Object]:
    return [
        http for one in chain.get("filters", []) for http in (one.get("typed_config") or {}).get("http_filters", [])
    ]


def _route_name(one: Mapping[str, Any]) -> str:
    return str(((one.get("typed_config") or {}).get("rds") or {}).get("route_config_name", ""))


def _access_logs(chain: Mapping[str, Any]) -> list[Object]:
    return [log for one in chain.get("filters", []) for log in (one.get("typed_config") or {}).get("access_log", [])]


def _log_format(log: Mapping[str, Any]) -> Object:
    config = log.get("typed_config") or {}
    text = ((config.get("log_format") or {}).get("text_format_source") or {}).get("inline_string", "")
    return {"name": log.get("name", ""), "path": config.get("path", ""), "format": text or config.get("log_format", {})}


def _log(kube: Kube, namespace: str, pod: str, since: datetime | None, budget: Budget) -> tuple[LogCount, ...]:
    query = [("container", SIDECAR), ("tailLines", _LINES)]
    if since:
        # A time span, because the clocks of this machine and of the node may differ.
        seconds = max(1, math.ceil((datetime.now(UTC) - since).total_seconds()))
        query.append(("sinceSeconds", str(seconds)))
    text = log_of(kube, namespace, pod, query, budget, at_most=_LOG_BYTES)
    return counted(access_log.parse(text).lines)


def counted(lines: Iterable[access_log.AccessLogLine]) -> tuple[LogCount, ...]:
    """The lines of an access log, equal ones counted; the most frequent first."""
    counts = Counter(
        (
            line.response_code or 0,
            line.response_flags or "",
            line.response_code_details or line.termination or "",
            line.upstream_cluster or "",
            line.upstream_host or "",
            line.authority or "",
            re.sub(r"\d+\.\d+\.\d+\.\d+(:\d+)?", "…", line.transport_failure or "")[:_FAILURE],
            line.route_name or "",
        )
        for line in lines
    )
    return tuple(LogCount(count, *kind) for kind, count in counts.most_common())
