"""DestinationRules: what they make clients' proxies do with the endpoints of the service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from splithorizon.diagnosis import causes, identities, root_causes, scope, state
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule, shown
from splithorizon.diagnosis.reading.model import (
    SERVER,
    Cluster,
    Object,
    Reading,
    name_of,
    namespace_of,
    spec_of,
)
from splithorizon.diagnosis.rules.client_rules import failing, of_clients, rules_for
from splithorizon.diagnosis.rules.follows import REFUSED, UNREACHED
from splithorizon.diagnosis.rules.services import prioritised

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


@rule
def destination_rules(case: Case) -> Iterator[Finding]:
    """A DestinationRule prefers localities, balances without weights, changes TLS, limits or closes connections."""
    reading = case.reading
    for host in map(reading.host_of, reading.services):
        for plane, one in rules_for(reading, "DestinationRule", host):
            for place, policy in _policies(one):
                yield from _of_policy(_Policy(of_clients(case, plane), case, plane, one, host, place, policy))


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
    """As the clients have it that the rule binds."""
    whole: Case
    """With every client: the rule binds servers too, and a server's limits refuse clients of any primary."""
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
        return self.failing("UO") or (_overflow_at_servers(self.case.reading, self.plane) if self.ours else "")

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
    reading, tls = policy.case.reading, policy.settings.get("tls")
    if tls is None:
        return
    # Without a mode it is Istio's first one, which is no TLS.
    mode, sni, names = tls.get("mode", "DISABLE"), tls.get("sni"), tls.get("subjectAltNames")
    if mode != "ISTIO_MUTUAL":
        field, value = ("tls.mode", mode) if "mode" in tls else ("tls", f"{shown(tls)}, without a mode: no TLS")
        lost = [said for cluster in reading.clusters if (said := state.lacking(reading, cluster, far_only=True))]
        witness = (lost[0] if lost and policy.ours else "") or policy.failing("UF", "UC", "URX", "UH", "NR")
        yield policy.finding(root_causes.RULE_CHANGES_TLS, field, value, witness, REFUSED)
        return
    if names and (other := set(_identities(reading)).difference(map(str, names))):
        value = f"{shown(names)}; the service's pods are {shown(sorted(other))}"
        witness = identities.unverified(reading) if policy.ours else policy.failing("UF", "URX")
        yield policy.finding(root_causes.RULE_DEMANDS_ANOTHER_NAME, "tls.subjectAltNames", value, witness, REFUSED)
    if sni:
        # The gateway of another network chooses the service by this name, and knows it by Istio's own alone.
        lost = [said for cluster in reading.clusters if (said := _at_far_gateway(reading, cluster))]
        witness = lost[0] if lost and policy.ours else ""
        yield policy.finding(causes.GATEWAY_NAME_CHANGED, "tls.sni", sni, witness, REFUSED)


def _identities(reading: Reading) -> Iterator[str]:
    for _, server in state.servers(reading):
        yield from identities.of_proxy(server)


def _of_pool(policy: _Policy) -> Iterator[Finding]:
    case, pool = policy.whole, policy.settings.get("connectionPool") or {}
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
    failed = state.trouble_at_gateway(reading, cluster)
    return failed or state.failing_hosts(reading, state.gateway_addresses(reading, cluster))


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


def _overflow_at_servers(reading: Reading, plane: Cluster) -> str:
    """A sentence on requests that a server's sidecar refused because its pool was full; empty without any."""
    for cluster in state.managed_by(reading, plane):
        for proxy in cluster.of(SERVER):
            for line in state.logged(proxy, flags=("UO",)):
                return f"{line.count} requests ended with {line.code} {line.flags} at the sidecar of {proxy.pod}"
    return ""
