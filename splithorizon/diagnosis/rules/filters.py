"""EnvoyFilters: what they patch into the proxies of clients, pods and gateways."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from splithorizon.diagnosis import causes, root_causes, scope, state
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, paths, rule, shown
from splithorizon.diagnosis.reading.model import (
    CLIENT,
    GATEWAY,
    SERVER,
    Cluster,
    LogCount,
    Object,
    Proxy,
    Reading,
    labels_of,
    name_of,
    namespace_of,
    spec_of,
)
from splithorizon.diagnosis.rules.follows import REFUSED

_CONTEXTS = {
    "SIDECAR_OUTBOUND": (CLIENT, SERVER),
    "SIDECAR_INBOUND": (SERVER, CLIENT),
    "GATEWAY": (GATEWAY,),
    "ANY": (CLIENT, SERVER, GATEWAY),
}


@dataclass(frozen=True)
class _Patch:
    """One patch of a filter, with the proxies that it is for."""

    plane: Cluster
    filter: Object
    place: str
    body: Object
    bound: tuple[tuple[Cluster, Proxy], ...]

    @property
    def value(self) -> Any:
        """What is patched in."""
        return (self.body.get("patch") or {}).get("value") or {}

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return dict(paths(self.value))

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(str(one) for path, one in self._fields.items() if path.endswith(("@type", "name")))

    @property
    def kind(self) -> str:
        """What of Envoy's configuration is patched."""
        return str(self.body.get("applyTo") or "")

    @property
    def word(self) -> str:
        """By which a filter's own name ends: csrf of envoy.filters.http.csrf."""
        name = self.value.get("name") if isinstance(self.value, dict) else ""
        return str(name or "").rpartition(".")[2]

    @property
    def operation(self) -> str:
        """What is done with it."""
        return str((self.body.get("patch") or {}).get("operation") or "")

    def matched(self, *path: str) -> Any:
        """What the patch matches at a path; None where it matches anything."""
        found: Any = self.body.get("match")
        for key in path:
            found = (found or {}).get(key)
        return found

    def has(self, *words: str) -> bool:
        """Whether a name or type in the value holds one of the words."""
        return any(word in name for word in words for name in self._names)

    def at(self, *fields: str) -> tuple[str, Any] | None:
        """The path and the value of the first of these fields, at any depth; None where there is none."""
        return next(
            ((f".{path}", one) for path, one in self._fields.items() if path.rpartition(".")[2] in fields), None
        )

    def at_or_whole(self, *fields: str) -> tuple[str, Any]:
        """As ``at``, and the whole value where there is no such field."""
        return self.at(*fields) or ("", self.value)

    def lines(self) -> Iterator[tuple[str, Proxy, LogCount]]:
        """The access-log lines of the proxies that it is for, with the proxy, and how a sentence names that."""
        context = str(self.matched("context") or "")
        other = {"SIDECAR_INBOUND": "outbound|", "SIDECAR_OUTBOUND": "inbound|"}.get(context)
        for cluster, proxy in self.bound:
            for line in proxy.log:
                if other is None or not line.cluster.startswith(other):
                    yield f"{cluster.name}'s {proxy.pod}", proxy, line

    def finding(self, cause: Cause, field: str, value: Any, witness: str) -> Finding:
        """What is found where the patch has this field and value."""
        facts = [Fact(of(self.plane, self.filter), f"{self.place}.patch.value{field}", shown(value))]
        selector = scope.selector_of(self.filter)
        pods = ", ".join(f"{cluster.name}/{proxy.pod}" for cluster, proxy in self.bound[:2])
        facts.append(
            Fact(
                of(self.plane, self.filter),
                "spec.workloadSelector.labels",
                f"{shown(dict(selector)) or 'none'}, binds {pods}",
            )
        )
        fix = f"kubectl <{self.plane.name}> -n {namespace_of(self.filter)} delete envoyfilter {name_of(self.filter)}"
        return Finding(cause, Layer.RULE, tuple(facts), fix, witness, REFUSED | {cause.id})


def _patches(reading: Reading) -> Iterator[_Patch]:
    for plane, one in reading.configs("EnvoyFilter"):
        root = state.root_namespace(reading, plane)
        bound = [
            (cluster, proxy)
            for cluster in reading.clusters
            if cluster.control_plane == plane.name
            for proxy in cluster.proxies
            if (pod := cluster.get("Pod", proxy.pod, proxy.namespace))
            and scope.binds(one, root, proxy.namespace, labels_of(pod))
        ]
        for number, patch in enumerate(spec_of(one).get("configPatches") or []):
            context = str((patch.get("match") or {}).get("context") or "ANY")
            versions = str(((patch.get("match") or {}).get("proxy") or {}).get("proxyVersion") or "")
            chosen = tuple(
                pair for pair in bound if pair[1].kind in _CONTEXTS.get(context, ()) and _is_of(pair[1], versions)
            )
            if chosen:
                yield _Patch(plane, one, f"spec.configPatches[{number}]", patch, chosen)


def _is_of(proxy: Proxy, versions: str) -> bool:
    """Whether a proxy is of the versions that a patch is for, a regular expression; also where its own is not known."""
    known = str(proxy.metadata.get("ISTIO_VERSION") or "")
    try:
        return not versions or not known or bool(re.search(versions, known))
    except re.error:
        return True


@rule
def refused(case: Case) -> Iterator[Finding]:
    """Envoy refuses what an EnvoyFilter made of its configuration."""
    reading = case.reading
    rejected = [
        (cluster, proxy, one) for cluster in reading.clusters for proxy in cluster.proxies for one in proxy.rejected
    ]
    stuck = _unacknowledged(reading)
    asked = case.suspected(causes.ENVOY_REFUSED_CONFIG)
    patches = [*_patches(reading)]
    filters_of: dict[tuple[str, str, str], set[str]] = {}
    for patch in patches:
        for cluster, proxy in patch.bound:
            filters_of.setdefault((cluster.name, proxy.namespace, proxy.pod), set()).add(of(patch.plane, patch.filter))
    for patch in patches:
        text = f"{patch.value}"
        for cluster, proxy in patch.bound:
            alone = len(filters_of[cluster.name, proxy.namespace, proxy.pod]) == 1
            said = next(
                (
                    f"Envoy of {cluster.name}'s {proxy.pod} refused {one['name'] or 'it'}: {one['details']}"
                    for _, other, one in rejected
                    if other is proxy and ((alone and _may_make(patch, one)) or _mentions(one, patch.value))
                ),
                "",
            )
            late = stuck.get(f"{proxy.pod}.{proxy.namespace}", "")
            if said or (late and asked):
                field, value = _named(patch.value, text)
                yield patch.finding(causes.ENVOY_REFUSED_CONFIG, field, value, said or f"{late}; {asked}")
                break


def _may_make(patch: _Patch, rejected: Object) -> bool:
    """Whether a patch may have made what Envoy refused: no patch of clusters or routes makes a listener."""
    of_listener = re.search(r"_\d+$|^virtual(Inbound|Outbound)$", str(rejected["name"]))
    return not of_listener or patch.kind not in ("CLUSTER", "HTTP_ROUTE", "VIRTUAL_HOST", "ROUTE_CONFIGURATION")


def _mentions(rejected: Object, value: Any) -> bool:
    names = [str(one) for path, one in paths(value) if path.endswith(("name", "address")) and isinstance(one, str)]
    return any(name and (name == rejected["name"] or name in rejected["details"]) for name in names)


def _named(value: Any, text: str) -> tuple[str, str]:
    for path, one in paths(value):
        if path == "name":
            return ".name", str(one)
    return "", text


def _unacknowledged(reading: Reading) -> dict[str, str]:
    """What each proxy has been sent and has not accepted, as a sentence."""
    found = {}
    for plane in reading.config_clusters:
        for istiod in plane.istiods:
            for one in istiod.proxies or ():
                late = [
                    kind
                    for kind in ("cluster", "listener", "route", "endpoint")
                    if one.get(f"{kind}_sent", "") != one.get(f"{kind}_acked", "")
                ]
                if late and "cluster_id" in one:
                    found[str(one["proxy"])] = f"{one['proxy']} has not accepted its {', '.join(late)} (/debug/syncz)"
    return found


@rule
def effects(case: Case) -> Iterator[Finding]:
    """An EnvoyFilter makes a proxy inject faults, limit, answer or trust otherwise."""
    patches = [patch for patch in _patches(case.reading) if _concerns_services(case.reading, patch)]
    for patch in patches:
        yield from _by_filters(case, patch)
        yield from _by_settings(case, patch)
        yield from _by_answers(case, patch, patches)


def _concerns_services(reading: Reading, patch: _Patch) -> bool:
    """Whether requests for the services may pass what is patched: it is not for another Service, or another port."""
    hosts = tuple(map(reading.host_of, reading.services))
    where = patch.matched("cluster") or {}
    named = str(where.get("service") or state.parts_of(str(where.get("name") or ""))[3])
    # A virtual host of a Service is named by its host and port.
    virtual = str(patch.matched("routeConfiguration", "vhost", "name") or "").rpartition(":")[0]
    port = patch.matched("listener", "portNumber")
    listening = {number for _, proxy in patch.bound if proxy.kind == GATEWAY for number in proxy.listening}
    ports = {
        scope.target_of(one, *state.gateway_pods(cluster))
        for cluster in reading.clusters
        for _, _, one in state.ports_for_networks(cluster)
    }
    return (
        (not named or named in hosts)
        and (not virtual.endswith(f".svc.{reading.domain}") or virtual in hosts)
        # Of sidecars the ports are those of pods or of Services, by the direction.
        and not (port and listening and all(proxy.kind == GATEWAY for _, proxy in patch.bound) and port not in ports)
    )


def _by_filters(case: Case, patch: _Patch) -> Iterator[Finding]:
    """Filters that inject faults or limit requests, and what a gateway demands and trusts."""
    if patch.has("HTTPFault", "filters.http.fault"):
        for word, flag in (("abort", "FI"), ("delay", "DI")):
            if place := patch.at(word):
                status = place[1].get("http_status") if isinstance(place[1], dict) else None
                witness = _flagged(case.reading, patch, (flag,), status) or _injected(patch)
                yield patch.finding(root_causes.FAULT_INJECTED, *place, witness)
    if patch.has("Buffer"):
        place = patch.at_or_whole("max_request_bytes")
        yield patch.finding(causes.BODY_LIMITED, *place, case.suspected(causes.BODY_LIMITED))
    if patch.has("RateLimit", "ratelimit"):
        place = patch.at_or_whole("token_bucket", "max_tokens", "domain")
        # A 429 alone may be the service's own answer.
        witness = _flagged(case.reading, patch, ("RL",)) or _detailed(patch, "rate_limited")
        yield patch.finding(root_causes.RATE_LIMITED, *place, witness)
    if place := patch.at("trust_chain_verification"):
        yield patch.finding(causes.ANY_ROOT_TRUSTED, *place, case.suspected(causes.ANY_ROOT_TRUSTED))
    elif patch.has("DownstreamTlsContext"):
        cause = causes.NO_CLIENT_CERTIFICATE_DEMANDED
        yield patch.finding(cause, *patch.at_or_whole("name"), case.suspected(cause))
    if place := patch.at("default_filter_chain"):
        field, chain = place
        place = (f"{field}.name", chain["name"]) if isinstance(chain, dict) and chain.get("name") else place
        yield patch.finding(causes.ANY_NAME_PASSED, *place, case.suspected(causes.ANY_NAME_PASSED))


def _by_settings(case: Case, patch: _Patch) -> Iterator[Finding]:
    """Timeouts, limits and balancing."""
    if place := patch.at("stream_idle_timeout", "idle_timeout"):
        yield patch.finding(causes.SILENCE_LIMITED, *place, case.suspected(causes.SILENCE_LIMITED))
    # A filter's own timeout is for what the filter asks.
    of_routes = () if patch.kind in ("HTTP_FILTER", "NETWORK_FILTER", "LISTENER_FILTER", "CLUSTER") else ("timeout",)
    if place := patch.at(*of_routes, "request_timeout", "max_stream_duration"):
        witness = case.suspected(causes.REQUEST_TIME_LIMITED) or _flagged(case.reading, patch, ("UT",))
        yield patch.finding(causes.REQUEST_TIME_LIMITED, *place, witness)
    if place := patch.at("max_connection_duration", "max_downstream_connection_duration"):
        yield patch.finding(causes.CONNECTION_CUT, *place, case.suspected(causes.CONNECTION_CUT))
    if place := patch.at("circuit_breakers"):
        yield patch.finding(root_causes.CONNECTIONS_LIMITED, *place, _flagged(case.reading, patch, ("UO",)))
    if place := patch.at("lb_policy"):
        witness = case.suspected(causes.BALANCED_WITHOUT_WEIGHTS, causes.ENDPOINTS_WEIGHTED)
        yield patch.finding(causes.BALANCED_WITHOUT_WEIGHTS, *place, witness)


def _by_answers(case: Case, patch: _Patch, others: list[_Patch]) -> Iterator[Finding]:
    """Filters and routes by which a proxy answers itself."""
    cause, named = root_causes.FILTER_ANSWERS, patch.at_or_whole("name")
    for word, details in _ANSWERING.items():
        if patch.has(word):
            yield patch.finding(cause, *named, _detailed(patch, details))
    if not patch.has(*_ANSWERING, "HTTPFault", "filters.http.fault", "RateLimit", "ratelimit", "Buffer"):
        yield patch.finding(cause, *named, _local_reply(patch, others))
    if patch.has("filters.network.rbac"):
        # Policies of Istio's make filters of that name too: they are the cause where one binds the proxy.
        witness = "" if _policed(case.reading, patch) else _ended(patch, "rbac_access_denied")
        yield patch.finding(cause, *named, witness)
    if patch.has(*_CLOSING):
        yield patch.finding(cause, *named, _closed(case.reading, patch))
    if answer := patch.at("direct_response", "redirect"):
        yield patch.finding(cause, *answer, _detailed(patch, "direct_response"))
    if patch.operation in ("REMOVE", "REPLACE"):
        removed = str(patch.matched("listener", "filterChain", "filter", "subFilter", "name") or "")
        # Of the HTTP filters no request needs the others.
        needed = patch.kind != "HTTP_FILTER" or not removed or removed.endswith((".router", ".alpn"))
        witness = _flagged(case.reading, patch, ("NR", "NC", "UF", "UC", "UH")) if needed else ""
        yield patch.finding(cause, "", patch.operation, witness)


# What Envoy itself gives for a reason, whatever filters there are.
_ENVOYS_OWN = (
    "via_upstream", "no_healthy_upstream", "cluster_not_found", "route_not_found", "upstream_", "response_timeout",
    "downstream_", "connection_", "overload", "rbac_", "jwt_", "fault_filter", "direct_response", "maintenance_mode",
    "filter_chain_not_found", "stream_idle_timeout", "request_overall_timeout", "max_duration", "internal_redirect",
)  # fmt: skip


def _local_reply(patch: _Patch, others: list[_Patch]) -> str:
    """A sentence on requests that a bound proxy answered itself, for a reason that is none of Envoy's own.

    Where the reason begins with the name of a filter it is that one's.
    """
    if patch.kind != "HTTP_FILTER":
        return ""
    for place, _, line in patch.lines():
        own = line.details.startswith(_ENVOYS_OWN)
        named = [one for one in others if one.word and line.details.startswith(one.word)]
        if line.code >= 400 and not line.upstream and line.details and not own and (patch in named or not named):
            return f"{line.count} requests of {place} ended with {line.code} {line.details}"
    return ""


def _ended(patch: _Patch, word: str) -> str:
    """A sentence on connections that a bound proxy ended itself, for this reason; empty without any."""
    for place, _, line in patch.lines():
        if not line.code and word in line.details:
            return f"{line.count} connections at {place} ended with {line.details}"
    return ""


def _closed(reading: Reading, patch: _Patch) -> str:
    """A sentence on connections of clients that ended at a gateway that the patch is for; empty without any."""
    for cluster, proxy in patch.bound:
        if proxy.kind == GATEWAY and (said := state.trouble_at_gateway(reading, cluster, _was_made)):
            return said
    return ""


def _was_made(line: LogCount) -> bool:
    """Whether a connection may have been made before it ended: a filter takes one before it closes it."""
    return "refused" not in line.failure and "timeout" not in line.failure


def _policed(reading: Reading, patch: _Patch) -> bool:
    """Whether an AuthorizationPolicy binds one of the proxies that a patch is for."""
    return any(
        scope.binds(policy, state.root_namespace(reading, plane), proxy.namespace, labels_of(pod))
        for plane, policy in reading.configs("AuthorizationPolicy")
        for cluster, proxy in patch.bound
        if cluster.control_plane == plane.name and (pod := cluster.get("Pod", proxy.pod, proxy.namespace))
    )


# Filters that close a connection before a filter chain is chosen or before it leads anywhere, and log nothing of it.
_CLOSING = ("listener.proxy_protocol", "ProxyProtocol", "network.connection_limit", "network.local_ratelimit")

_ANSWERING = {
    "Lua": "lua", "filters.http.lua": "lua", "ExtAuthz": "ext_authz", "Wasm": "wasm", "filters.http.rbac": "rbac",
}  # fmt: skip


def _flagged(reading: Reading, patch: _Patch, flags: tuple[str, ...], status: Any = None) -> str:
    """A sentence on requests that a bound proxy logged with one of the flags, and this status if any; or empty."""
    hosts = tuple(map(reading.host_of, reading.services))
    for place, proxy, line in patch.lines():
        if not {*line.flags.split(",")} & {*flags} or str(line.code) != str(status or line.code):
            continue
        if proxy.kind != CLIENT or line.cluster.endswith(hosts) or not line.cluster:
            return f"{line.count} requests of {place} ended with {line.code} {line.flags}"
    return ""


def _detailed(patch: _Patch, word: str) -> str:
    """A sentence on requests that a bound proxy failed or answered itself for this reason; empty without any."""
    for place, _, line in patch.lines():
        if word in line.details and (line.code >= 400 or not line.upstream):
            return f"{line.count} requests of {place} ended with {line.code} {line.details}"
    return ""


def _injected(patch: _Patch) -> str:
    """A sentence on a proxy whose fault filter aborts or delays; the one that Istio puts there does neither."""
    for cluster, proxy in patch.bound:
        for listener in proxy.listeners:
            if any(map(_has_fault, listener["chains"])):
                return f"Envoy of {cluster.name}'s {proxy.pod} has a fault filter in {listener['name']}"
    return ""


def _has_fault(chain: Object) -> bool:
    return any(
        "HTTPFault" in str(setting.get("@type")) and (setting.get("abort") or setting.get("delay"))
        for setting in chain["settings"].values()
    )
