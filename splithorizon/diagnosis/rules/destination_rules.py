"""DestinationRules: what they make clients' proxies do with the endpoints of the service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from splithorizon.diagnosis import causes, identities, root_causes, scope, state
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, paths, rule, shown
from splithorizon.diagnosis.reading.model import (
    Cluster,
    Object,
    Reading,
    labels_of,
    name_of,
    namespace_of,
    spec_of,
)
from splithorizon.diagnosis.rules.client_rules import (
    MADE_AT_ONCE,
    failing,
    limits_of,
    of_clients,
    overflow_at_servers,
    pool_of,
    rules_for,
    sidecar_of,
)
from splithorizon.diagnosis.rules.follows import REFUSED, UNREACHED
from splithorizon.diagnosis.rules.mesh_config import left_out
from splithorizon.diagnosis.rules.services import kept_near_by, prioritised

_UNWEIGHTED = ("RANDOM", "PASSTHROUGH")
_UNWEIGHTED_POLICIES = ("RANDOM", "RING_HASH", "MAGLEV", "CLUSTER_PROVIDED")
_WEIGHTS = (
    causes.BALANCED_WITHOUT_WEIGHTS, causes.ENDPOINTS_WEIGHTED, causes.LOCALITY_PREFERRED, causes.REMOTE_SECRET_MISSING,
)  # fmt: skip
_TIMES = ("tcp.idleTimeout", "http.idleTimeout", "tcp.maxConnectionDuration", "tcp.connectTimeout")


@rule
def destination_rules(case: Case) -> Iterator[Finding]:
    """A DestinationRule prefers localities, balances without weights, changes TLS, limits or closes connections."""
    reading = case.reading
    for host in map(reading.host_of, reading.services):
        for plane, one in rules_for(reading, "DestinationRule", host):
            bound = of_clients(case, plane)
            for place, policy in _policies(reading, plane, one, host):
                yield from _of_policy(_Policy(bound, case, plane, one, host, place, policy))


def _policies(reading: Reading, plane: Cluster, one: Object, host: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The traffic policies of a rule that are in force for a host: of the Service's own ports, and of used subsets."""
    spec, name = spec_of(one), host.partition(".")[0]
    services = (state.service_of(reading, cluster, name) for cluster in reading.clusters)
    numbers = {int(port["port"]) for service in services if service for port in scope.ports(service)}
    if (policy := spec.get("trafficPolicy")) and not _is_overridden(reading, plane, one, host):
        yield from scope.policy_levels(policy, numbers)
    for number, subset in enumerate(spec.get("subsets") or []):
        if (policy := subset.get("trafficPolicy")) and _is_routed_to(plane, str(subset.get("name"))):
            yield from scope.policy_levels(policy, numbers, f"spec.subsets[{number}].trafficPolicy")


def _is_overridden(reading: Reading, plane: Cluster, one: Object, host: str) -> bool:
    """Whether the clients have another rule's traffic policy for a host; two rules of a host may be made into one."""
    bound = state.seen_by_clients_of(reading, plane)
    configs = [
        config
        for _, proxy in state.clients(bound)
        for name, config in proxy.clusters.items()
        if name.startswith("outbound|") and state.parts_of(name)[3] == host
    ]
    others = [
        other
        for other in plane.all("DestinationRule")
        if spec_of(other).get("trafficPolicy") and any(state.in_force(config, other) for config in configs)
    ]
    return bool(others) and state.overridden(configs, one)


def _is_routed_to(plane: Cluster, subset: str) -> bool:
    """Whether a VirtualService of a control plane has a route to a subset of this name."""
    return any(
        path.endswith("destination.subset") and value == subset
        for rule in plane.all("VirtualService")
        for path, value in paths(spec_of(rule))
    )


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
        witness = prioritised(reading)
        if not witness and locality.get("distribute"):
            witness = _left_out(reading, policy.plane, locality) or _weighted(reading)
        yield policy.finding(causes.LOCALITY_PREFERRED, "loadBalancer.localityLbSetting", locality, witness)
    elif (outliers := policy.settings.get("outlierDetection")) and not kept_near_by(reading):
        # Outlier detection alone switches on the mesh's own preference, which a Service's goes before.
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
    if (header := policy.settings.get("proxyProtocol")) is not None:
        witness = _at_far_gateways(reading) if policy.ours else ""
        yield policy.finding(root_causes.RULE_CHANGES_TLS, "proxyProtocol", header, witness, REFUSED)
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
        witness = _at_far_gateways(reading) if policy.ours else ""
        yield policy.finding(causes.GATEWAY_NAME_CHANGED, "tls.sni", sni, witness, REFUSED)


def _identities(reading: Reading) -> Iterator[str]:
    for _, server in state.servers(reading):
        yield from identities.of_proxy(server)


def _of_pool(policy: _Policy) -> Iterator[Finding]:
    case, pool = policy.whole, policy.settings.get("connectionPool") or {}
    for field, value in limits_of(pool).items():
        cause, witness = root_causes.CONNECTIONS_LIMITED, policy.overflowing()
        yield policy.finding(cause, f"connectionPool.{field}", value, witness, REFUSED)
    found = {field: value for field in _TIMES if (value := _at(pool, field)) is not None}
    for field, value in found.items():
        if field.endswith("idleTimeout"):
            witness = case.suspected(causes.SILENCE_LIMITED)
            yield policy.finding(causes.SILENCE_LIMITED, f"connectionPool.{field}", value, witness, frozenset())
            continue
        witness = case.suspected(causes.CONNECTION_CUT)
        if not witness and field.endswith("connectTimeout") and scope.seconds(str(value)) < MADE_AT_ONCE:
            witness = failing(policy.case.reading, policy.host, ("UF", "UT"), state.is_unanswered)
        yield policy.finding(causes.CONNECTION_CUT, f"connectionPool.{field}", value, witness, REFUSED)


def _at_far_gateways(reading: Reading) -> str:
    """A sentence on clients whose connections fail at a gateway that does not refuse them, by logs and counters."""
    for cluster in reading.clusters:
        addresses = state.gateway_addresses(reading, cluster)
        failures = (line for _, proxy in state.clients(reading) for line in proxy.log if line.upstream in addresses)
        # The gateway reads what a client says only where a connection is made.
        if any("refused" in line.failure for line in failures):
            continue
        if failed := state.trouble_at_gateway(reading, cluster) or state.failing_hosts(reading, addresses):
            return failed
    return ""


def _at(value: Mapping[str, Any], path: str) -> Any:
    for key in path.split("."):
        value = value.get(key) or {}
    return value or None


def _left_out(reading: Reading, plane: Cluster, locality: Mapping[str, Any]) -> str:
    """A sentence on clients without the endpoints of a cluster that a distribution leaves out; empty without any."""
    lost = (
        state.lacking(state.seen_by_clients_in(reading, senders), cluster)
        for _, _, cluster, senders in left_out(reading, plane, locality)
    )
    return next(filter(None, lost), "")


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
        # One that never answered is ejected by right: what it is that keeps it from answering is the cause.
        if "failed_outlier_check" in host.health and not host.never_answered:
            return f"the sidecar of {client.name}'s {proxy.pod} has ejected {host.address}"
    return ""


def _overflow_at_servers(reading: Reading, plane: Cluster) -> str:
    """A sentence on requests that a server's sidecar refused for a full pool, unless a Sidecar limits it; or empty."""
    root = state.root_namespace(reading, plane)
    for cluster in state.managed_by(reading, plane):
        for pod in state.pods_of(reading, cluster):
            sidecar = sidecar_of(plane, root, namespace_of(pod), labels_of(pod))
            ports = scope.ports(state.service_of(reading, cluster) or {})
            limited = sidecar and any(pool_of(sidecar, scope.target_of(port, pod)) for port in ports)
            if not limited and (said := overflow_at_servers(cluster, name_of(pod))):
                return said
    return ""
