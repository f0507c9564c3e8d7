"""DestinationRules and VirtualServices: what they make clients' proxies do with the service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from splithorizon.diagnosis import causes, root_causes, scope, state
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule, shown
from splithorizon.diagnosis.reading.model import (
    SERVER,
    Cluster,
    Object,
    Proxy,
    Reading,
    name_of,
    namespace_of,
    spec_of,
)
from splithorizon.diagnosis.rules.follows import REFUSED, UNREACHED
from splithorizon.diagnosis.rules.services import prioritised

# How an application answers a path, a method or a host that it does not have.
_NOT_KNOWN = (400, 404, 405, 421)
_UNWEIGHTED = ("RANDOM", "PASSTHROUGH")
_UNWEIGHTED_POLICIES = ("RANDOM", "RING_HASH", "MAGLEV", "CLUSTER_PROVIDED")
_WEIGHTS = (
    causes.BALANCED_WITHOUT_WEIGHTS, causes.ENDPOINTS_WEIGHTED, causes.LOCALITY_PREFERRED, causes.REMOTE_SECRET_MISSING,
)  # fmt: skip
_LIMITS = (
    "tcp.maxConnections", "http.http1MaxPendingRequests", "http.http2MaxRequests", "http.maxRequestsPerConnection",
    "http.maxRetries", "http.maxConcurrentStreams",
)  # fmt: skip
_POOL = (*_LIMITS, "tcp.idleTimeout", "http.idleTimeout", "tcp.maxConnectionDuration", "tcp.connectTimeout")


def _rules(reading: Reading, kind: str, host: str) -> Iterator[tuple[Cluster, Object]]:
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
        yield plane, one


def _name(reading: Reading, host: str) -> str:
    return next((name for name in reading.services if reading.host_of(name) == host), host)


@rule
def destination_rules(case: Case) -> Iterator[Finding]:
    """A DestinationRule prefers localities, balances without weights, changes TLS, limits or closes connections."""
    reading = case.reading
    for host in map(reading.host_of, reading.services):
        for plane, one in _rules(reading, "DestinationRule", host):
            for place, policy in _policies(one):
                yield from _of_policy(_Policy(case, plane, one, host, place, policy))


def _policies(one: Object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    spec = spec_of(one)
    if policy := spec.get("trafficPolicy"):
        yield from scope.policy_levels(policy)
    for number, subset in enumerate(spec.get("subsets") or []):
        if policy := subset.get("trafficPolicy"):
            yield f"spec.subsets[{number}].trafficPolicy", policy


@dataclass(frozen=True)
class _Policy:
    """A traffic policy of a DestinationRule for a host."""

    case: Case
    plane: Cluster
    destination_rule: Object
    host: str
    place: str
    settings: Mapping[str, Any]

    @property
    def ours(self) -> bool:
        """Whether it is for the Service itself, and not for one beside it."""
        return self.host == self.case.reading.host

    def failing(self, *flags: str) -> str:
        """A sentence on requests for the host that ended with one of the flags; empty without any."""
        return failing(self.case.reading, self.host, flags)

    def overflowing(self) -> str:
        """A sentence on requests that found a pool full, at a client's sidecar or, by the same rule, at a server's."""
        return self.failing("UO") or (_overflow_at_servers(self.case.reading) if self.ours else "")

    def finding(
        self, cause: Cause, field: str, value: Any, witness: str, follows: frozenset[str] = UNREACHED
    ) -> Finding:
        """What is found where a field of the policy has this value; without a ``field`` it is the whole policy."""
        rule = self.destination_rule
        facts = (Fact(of(self.plane, rule), f"{self.place}.{field}" if field else self.place, shown(value)),)
        edit = f"kubectl <{self.plane.name}> -n {namespace_of(rule)} edit destinationrule {name_of(rule)}"
        return Finding(cause, Layer.RULE, facts, f"{edit}: take {field or 'it'} out", witness, follows | {cause.id})


def _of_policy(policy: _Policy) -> Iterator[Finding]:
    yield from _of_locality(policy)
    yield from _of_balancer(policy)
    yield from _of_tls(policy)
    yield from _of_pool(policy)
    outliers = policy.settings.get("outlierDetection")
    if policy.place == "spec.trafficPolicy" and not outliers:
        witness = policy.case.suspected(causes.OLDER_RULE)
        yield policy.finding(causes.OLDER_RULE, "", dict(policy.settings), witness, frozenset())
    if policy.ours and outliers and (ejected := _ejected(policy.case.reading)):
        yield policy.finding(causes.ENDPOINT_EJECTED, "outlierDetection", outliers, ejected)


def _of_locality(policy: _Policy) -> Iterator[Finding]:
    reading = policy.case.reading
    locality = (policy.settings.get("loadBalancer") or {}).get("localityLbSetting") or {}
    if not policy.ours or locality.get("enabled") is False:
        return
    if locality:
        witness = prioritised(reading) or _weighted(reading)
        yield policy.finding(causes.LOCALITY_PREFERRED, "loadBalancer.localityLbSetting", locality, witness)
    elif outliers := policy.settings.get("outlierDetection"):
        # Outlier detection alone switches on the mesh's own preference.
        of_mesh = state.mesh_config(reading, policy.plane).get("localityLbSetting") or {}
        witness = prioritised(reading) if of_mesh.get("enabled") is not False else ""
        yield policy.finding(causes.LOCALITY_PREFERRED, "outlierDetection", outliers, witness)


def _of_balancer(policy: _Policy) -> Iterator[Finding]:
    balancer = policy.settings.get("loadBalancer") or {}
    simple, hashed = balancer.get("simple"), balancer.get("consistentHash")
    if simple not in _UNWEIGHTED and not hashed:
        return
    field, value = ("loadBalancer.simple", simple) if simple else ("loadBalancer.consistentHash", hashed)
    witness, asked = _balanced(policy.case.reading, policy.host), policy.case.suspected(*_WEIGHTS)
    both = f"{witness}; {asked}" if witness and asked else ""
    yield policy.finding(causes.BALANCED_WITHOUT_WEIGHTS, field, value, both)


def _of_tls(policy: _Policy) -> Iterator[Finding]:
    reading, tls = policy.case.reading, policy.settings.get("tls") or {}
    mode, sni = tls.get("mode"), tls.get("sni")
    if mode and mode != "ISTIO_MUTUAL":
        lost = [said for cluster in reading.clusters if (said := state.lacking(reading, cluster, far_only=True))]
        witness = (lost[0] if lost and policy.ours else "") or policy.failing("UF", "UC", "URX", "UH", "NR")
        yield policy.finding(root_causes.RULE_CHANGES_TLS, "tls.mode", mode, witness, REFUSED)
    elif mode and sni:
        # The gateway of another network chooses the service by this name, and knows it by Istio's own alone.
        lost = [said for cluster in reading.clusters if (said := _at_far_gateway(reading, cluster))]
        witness = lost[0] if lost and policy.ours else ""
        yield policy.finding(causes.GATEWAY_NAME_CHANGED, "tls.sni", sni, witness, REFUSED)


def _of_pool(policy: _Policy) -> Iterator[Finding]:
    case, pool = policy.case, policy.settings.get("connectionPool") or {}
    found = {field: value for field in _POOL if (value := _at(pool, field)) is not None}
    for field, value in found.items():
        if field in _LIMITS:
            cause, witness, follows = root_causes.CONNECTIONS_LIMITED, policy.overflowing(), REFUSED
        elif field.endswith("idleTimeout"):
            cause, witness, follows = causes.SILENCE_LIMITED, case.suspected(causes.SILENCE_LIMITED), frozenset()
        else:
            cause, witness, follows = causes.CONNECTION_CUT, case.suspected(causes.CONNECTION_CUT), REFUSED
            if not witness and field.endswith("connectTimeout"):
                witness = policy.failing("UF", "UT")
        yield policy.finding(cause, f"connectionPool.{field}", value, witness, follows)


def _at_far_gateway(reading: Reading, cluster: Cluster) -> str:
    """A sentence on clients whose connections fail at a cluster's gateway, by their logs and counters."""
    addresses = state.gateway_addresses(reading, cluster)
    failed = state.trouble(reading, addresses, flags=("UF", "UC", "URX"))
    return failed or state.failing_hosts(reading, addresses)


def _at(value: Mapping[str, Any], path: str) -> Any:
    for key in path.split("."):
        value = value.get(key) or {}
    return value or None


def _weighted(reading: Reading) -> str:
    """A sentence on a client that holds endpoints of the service in localities that weigh differently."""
    for client, proxy in state.clients(reading):
        for port, hosts in state.held(proxy, reading.host).items():
            places = {host.locality for host in hosts}
            if len(places) > 1:
                return (
                    f"the sidecar of {client.name}'s {proxy.pod} holds outbound|{port}||{reading.host} in "
                    f"{sorted(places)}"
                )
    return ""


def _balanced(reading: Reading, host: str) -> str:
    for client, proxy in state.clients(reading):
        for name, config in proxy.clusters.items():
            if name.startswith("outbound|") and name.endswith(f"|{host}"):
                policy = str(config.get("lb_policy", ""))
                if policy in _UNWEIGHTED_POLICIES:
                    return f"the sidecar of {client.name}'s {proxy.pod} balances {name} by {policy}"
    return ""


def _ejected(reading: Reading) -> str:
    for client, proxy, host in state.held_hosts(reading):
        if "failed_outlier_check" in host.health:
            return f"the sidecar of {client.name}'s {proxy.pod} has ejected {host.address}"
    return ""


def _overflow_at_servers(reading: Reading) -> str:
    """A sentence on requests that a server's sidecar refused because its pool was full; empty without any."""
    for cluster in reading.clusters:
        for proxy in cluster.of(SERVER):
            for line in state.logged(proxy, flags=("UO",)):
                return f"{line.count} requests ended with {line.code} {line.flags} at the sidecar of {proxy.pod}"
    return ""


def failing(reading: Reading, host: str, flags: tuple[str, ...]) -> str:
    """A sentence on requests for a host that ended with one of the flags, by clients' logs; empty without any."""
    for client, proxy in state.clients(reading):
        for line in state.logged(proxy, flags=flags, host=host):
            return f"{line.count} requests of {client.name}'s {proxy.pod} ended with {line.code} {line.flags}"
    return ""


@rule
def virtual_services(case: Case) -> Iterator[Finding]:
    """A VirtualService injects faults, limits time, or sends requests where they should not go."""
    reading = case.reading
    for host in map(reading.host_of, reading.services):
        for plane, one in _rules(reading, "VirtualService", host):
            for number, route in enumerate(spec_of(one).get("http") or []):
                yield from _of_route(case, plane, one, host, f"spec.http[{number}]", route)
            for kind in ("tcp", "tls"):
                for number, route in enumerate(spec_of(one).get(kind) or []):
                    yield from _destinations(case, plane, one, host, f"spec.{kind}[{number}]", route)
            yield from _unmatched(case, plane, one, host)
            yield Finding(
                causes.OLDER_RULE, Layer.RULE,
                (Fact(of(plane, one), "spec.hosts", shown(spec_of(one).get("hosts"))),
                 Fact(of(plane, one), "metadata.creationTimestamp", str(one["metadata"].get("creationTimestamp", "")))),
                f"kubectl <{plane.name}> -n {namespace_of(one)} delete virtualservice {name_of(one)}",
                case.suspected(causes.OLDER_RULE) if host == reading.host else "",
                frozenset({causes.OLDER_RULE.id}),
            )  # fmt: skip


def _of_route(
    case: Case, plane: Cluster, one: Object, host: str, place: str, route: Mapping[str, Any]
) -> Iterator[Finding]:
    reading = case.reading
    edit = f"kubectl <{plane.name}> -n {namespace_of(one)} edit virtualservice {name_of(one)}"

    def finding(cause: Cause, field: str, value: Any, witness: str, follows: frozenset[str]) -> Finding:
        facts = (Fact(of(plane, one), f"{place}.{field}", shown(value)),)
        return Finding(cause, Layer.RULE, facts, f"{edit}: take {field} out", witness, follows | {cause.id})

    fault = route.get("fault") or {}
    if abort := fault.get("abort"):
        yield finding(root_causes.FAULT_INJECTED, "fault.abort", abort, failing(reading, host, ("FI",)), REFUSED)
    if delay := fault.get("delay"):
        witness = failing(reading, host, ("DI",)) or case.suspected(causes.REQUEST_TIME_LIMITED)
        yield finding(root_causes.FAULT_INJECTED, "fault.delay", delay, witness, REFUSED)
    if timeout := route.get("timeout"):
        witness = failing(reading, host, ("UT",)) or case.suspected(causes.REQUEST_TIME_LIMITED)
        yield finding(causes.REQUEST_TIME_LIMITED, "timeout", timeout, witness, REFUSED)
    if "retries" in route and (route["retries"] or {}).get("attempts") in (0, None):
        yield finding(
            causes.RETRIES_CHANGED, "retries", route["retries"], case.suspected(causes.RETRIES_CHANGED), frozenset()
        )
    for field in ("directResponse", "redirect"):
        if value := route.get(field):
            yield finding(root_causes.RULE_ANSWERS_ITSELF, field, value, _answered_itself(reading, host, one), REFUSED)
    if rewrite := route.get("rewrite"):
        yield finding(
            root_causes.RULE_ANSWERS_ITSELF, "rewrite", rewrite, _not_known_there(reading, host), REFUSED,
        )  # fmt: skip
    headers = (route.get("headers") or {}).get("request") or {}
    if any(str(key).lower() == "x-request-id" for part in headers.values() for key in part):
        yield finding(
            causes.REQUEST_ID_CHANGED,
            "headers.request",
            headers,
            case.suspected(causes.REQUEST_ID_CHANGED),
            frozenset(),
        )
    yield from _destinations(case, plane, one, host, place, route)


def _answered_itself(reading: Reading, host: str, one: Object) -> str:
    for client, proxy in state.clients(reading):
        for line in state.logged(proxy, host=host):
            if line.details in ("direct_response",) or (line.code in (301, 302, 303, 307, 308) and not line.upstream):
                return (
                    f"{line.count} requests of {client.name}'s {proxy.pod} got {line.code} {line.details} "
                    f"from the sidecar"
                )
        for virtual, route in _routes(proxy, host):
            if ("direct_response" in route or "redirect" in route) and state.in_force(route, one):
                return f"the sidecar of {client.name}'s {proxy.pod} answers {virtual} itself"
    return ""


def _not_known_there(reading: Reading, host: str) -> str:
    """A sentence on requests whose path or host the application does not know; empty without any."""
    for client, proxy in state.clients(reading):
        for line in state.logged(proxy, host=host):
            if line.code in _NOT_KNOWN and line.details == "via_upstream":
                return f"{line.count} requests of {client.name}'s {proxy.pod} were answered with {line.code}"
    return ""


def failing_code(reading: Reading, host: str) -> str:
    """A sentence on requests for a host that ended with an error status, by clients' logs; empty without any."""
    for client, proxy in state.clients(reading):
        for line in state.logged(proxy, host=host):
            if line.code >= 400:
                return f"{line.count} requests of {client.name}'s {proxy.pod} ended with {line.code} {line.details}"
    return ""


def _routes(proxy: Proxy, host: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for virtual in proxy.hosts:
        if host in virtual.get("domains", []):
            for route in virtual.get("routes", []):
                yield str(virtual.get("name")), route


def _destinations(
    case: Case, plane: Cluster, one: Object, host: str, place: str, route: Mapping[str, Any]
) -> Iterator[Finding]:
    """Where a route sends requests: to another host, or to a subset that leaves out pods."""
    reading = case.reading
    edit = f"kubectl <{plane.name}> -n {namespace_of(one)} edit virtualservice {name_of(one)}"
    for number, choice in enumerate(route.get("route") or []):
        destination = choice.get("destination") or {}
        field = f"{place}.route[{number}].destination"
        target = scope.full_host(str(destination.get("host", "")), namespace_of(one), reading.domain)
        if target != host:
            yield Finding(
                causes.RULE_SENDS_ELSEWHERE, Layer.RULE,
                (Fact(of(plane, one), f"{field}.host", str(destination.get("host"))),
                 Fact(of(plane, one), "spec.hosts", shown(spec_of(one).get("hosts")))),
                edit, _sent_elsewhere(case, host, target),
                REFUSED | {causes.RULE_SENDS_ELSEWHERE.id, causes.SERVICE_IN_BOTH_CLUSTERS.id,
                           causes.GATEWAY_USED_FOR_NEAR.id},
            )  # fmt: skip
        elif subset := destination.get("subset"):
            known = _subset(reading, host, str(subset))
            yield Finding(
                root_causes.RULE_PICKS_SUBSET, Layer.RULE,
                (Fact(of(plane, one), f"{field}.subset", str(subset)), *known),
                edit, _short_subset(reading, host, str(subset)), REFUSED,
            )  # fmt: skip
        wanted = destination.get("port") or {}
        service = state.service_of(reading, plane, _name(reading, host))
        if (
            service
            and wanted.get("number")
            and wanted["number"] not in [one.get("port") for one in scope.ports(service)]
        ):
            yield Finding(
                causes.RULE_SENDS_ELSEWHERE, Layer.RULE,
                (Fact(of(plane, one), f"{field}.port.number", str(wanted["number"])),),
                edit, failing(reading, host, ("NC", "UH", "NR", "UF")), REFUSED,
            )  # fmt: skip


def _sent_elsewhere(case: Case, host: str, target: str) -> str:
    for client, proxy in state.clients(case.reading):
        for line in state.logged(proxy, host=host):
            if line.cluster.endswith(f"|{target}") and line.authority.partition(":")[0] in _names(host):
                return (
                    f"{line.count} requests of {client.name}'s {proxy.pod} for {line.authority} went to {line.cluster}"
                )
        for name, route in _routes(proxy, host):
            chosen = [str((route.get("route") or {}).get("cluster", ""))]
            chosen += [
                str(one.get("name"))
                for one in ((route.get("route") or {}).get("weighted_clusters") or {}).get("clusters", [])
            ]
            if any(one.endswith(f"|{target}") for one in chosen):
                return f"the sidecar of {client.name}'s {proxy.pod} routes {name} to {target}"
    return case.suspected(causes.RULE_SENDS_ELSEWHERE)


def _names(host: str) -> tuple[str, ...]:
    name, namespace, *_ = host.split(".")
    return (name, f"{name}.{namespace}", f"{name}.{namespace}.svc", host)


def _subset(reading: Reading, host: str, subset: str) -> tuple[Fact, ...]:
    """What a subset selects, by the DestinationRules that define it."""
    found = [
        Fact(of(plane, one), f"spec.subsets {subset}.labels", shown(known.get("labels")))
        for plane, one in _rules(reading, "DestinationRule", host)
        for known in spec_of(one).get("subsets") or []
        if known.get("name") == subset
    ]
    return tuple(found) or (Fact(f"DestinationRules for {host}", "spec.subsets", f"none is named {subset}"),)


def _short_subset(reading: Reading, host: str, subset: str) -> str:
    """A sentence on a client whose subset lacks endpoints that the service has; empty where none does."""
    for client, proxy in state.clients(reading):
        for line in state.logged(proxy, flags=("NC", "UH"), host=host):
            # A route that has no cluster is logged without one: then the log does not say which subset it means.
            if line.cluster and f"|{subset}|" not in line.cluster:
                continue
            return (
                f"{line.count} requests of {client.name}'s {proxy.pod} ended with {line.code} "
                f"{line.flags}: {line.cluster}"
            )
        whole, part = state.held(proxy, host), state.held(proxy, host, subset)
        used = [name for name, route in _routes(proxy, host) if f"|{subset}|" in str(route)]
        for port, hosts in whole.items():
            missing = {one.address for one in hosts} - {one.address for one in part.get(port, ())}
            if used and missing:
                return (
                    f"the sidecar of {client.name}'s {proxy.pod} lacks {', '.join(sorted(missing))} in subset {subset}"
                )
    return ""


def _unmatched(case: Case, plane: Cluster, one: Object, host: str) -> Iterator[Finding]:
    routes = spec_of(one).get("http") or []
    if not routes or any(not route.get("match") for route in routes):
        return
    yield Finding(
        root_causes.RULE_MATCHES_NOTHING, Layer.RULE,
        (Fact(of(plane, one), "spec.http[].match", shown([route.get("match") for route in routes])),),
        f"give {name_of(one)} a route without a match as its last",
        failing(case.reading, host, ("NR",)), REFUSED,
    )  # fmt: skip
