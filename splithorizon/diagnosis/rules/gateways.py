"""What the gateway's Service leads to, what listens there, and what it passes on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from splithorizon.base.addresses import host_port
from splithorizon.diagnosis import causes, root_causes, scope, state
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule, shown
from splithorizon.diagnosis.reading.model import (
    GATEWAY,
    Cluster,
    Host,
    Object,
    Proxy,
    Reading,
    labels_of,
    name_of,
    namespace_of,
    spec_of,
)
from splithorizon.diagnosis.rules.follows import UNREACHED
from splithorizon.istio.gateway_services import external_hosts
from splithorizon.istio.names import GATEWAY_PORT, GATEWAY_PORT_LABEL, NETWORK_LABEL

_UNREACHABLE = ("UF", "UC", "URX", "UH", "UT", "UR")
_PASSTHROUGH = "AUTO_PASSTHROUGH"
_FOLLOWS = UNREACHED | {
    causes.GATEWAY_BYPASSED.id,
    causes.GATEWAY_SERVICE_SELECTS_ABSENT_POD.id,
    causes.GATEWAY_LOG_INCOMPLETE.id,
    causes.ISTIOD_ADDRESS_STALE.id,
    causes.ISTIOD_UNREACHABLE.id,
    causes.GATEWAY_DROPS_PACKETS.id,
    causes.NO_CLIENT_CERTIFICATE_DEMANDED.id,
}


def _failed(reading: Reading, cluster: Cluster) -> str:
    return _failed_at(reading, state.gateway_addresses(reading, cluster))


def _failed_at(reading: Reading, addresses: frozenset[str]) -> str:
    return state.trouble(reading, addresses, flags=_UNREACHABLE) or state.failing_hosts(reading, addresses)


@rule
def target_port(case: Case) -> Iterator[Finding]:
    """The gateway's Service sends the port for other networks where no listener for them is."""
    reading = case.reading
    for cluster in reading.clusters:
        pods = state.gateway_pods(cluster)
        for service, number, port in state.ports_for_networks(cluster):
            target = scope.target_of(port, *pods)
            if proxy := not_listening(cluster, target):
                led = port.get("targetPort") not in (None, port.get("port"))
                yield Finding(
                    root_causes.GATEWAY_PORT_LEADS_ELSEWHERE if led else causes.GATEWAY_NOT_LISTENING,
                    Layer.GATEWAY,
                    led_past(cluster, service, number, proxy, target),
                    f"let port {port.get('port')} of the gateway's Service lead to target port {GATEWAY_PORT}",
                    _failed(reading, cluster) or case.suspected(*_SUSPECTS),
                    _FOLLOWS,
                )


@rule
def bound(case: Case) -> Iterator[Finding]:
    """A Gateway has the gateway listen for other networks at one address alone, and not at that of its pod."""
    reading = case.reading
    for cluster in reading.clusters:
        plane, pods = state.control_plane_of(reading, cluster), state.gateway_pods(cluster)
        addresses = {address for pod in pods for address in scope.ips_of(pod)}
        ports = {GATEWAY_PORT, *_targets(cluster, pods)}
        for gateway in plane.all("Gateway"):
            if not any(_selects(gateway, pod) for pod in pods):
                continue
            for number, server in enumerate(spec_of(gateway).get("servers") or []):
                port, address = (server.get("port") or {}).get("number"), str(server.get("bind") or "")
                if port not in ports or address in ("", "0.0.0.0", "::", *addresses):  # noqa: S104  # compared alone
                    continue
                named = [
                    Fact(f"Envoy {cluster.name}/{one.namespace}/{one.pod}", "listeners", one.listening[port])
                    for one in cluster.of(GATEWAY)
                    if port in one.listening
                ]
                yield Finding(
                    root_causes.GATEWAY_BINDS_ELSEWHERE,
                    Layer.GATEWAY,
                    (Fact(of(plane, gateway, "Gateway"), f"spec.servers[{number}].bind", address), *named),
                    f"kubectl <{plane.name}> -n {namespace_of(gateway)} edit gateways.networking.istio.io "
                    f"{name_of(gateway)}: take bind out of servers[{number}]",
                    _failed(reading, cluster) or case.suspected(*_SUSPECTS),
                    _FOLLOWS,
                )


def not_listening(cluster: Cluster, target: int) -> Proxy | None:
    """The first gateway that was read and has no listener at a port but its agent's; None where each has one."""
    for proxy in cluster.of(GATEWAY):
        name = proxy.listening.get(target, "") if target else ""
        if "listening" in proxy.read and (not name or _is_agents(name, target)):
            return proxy
    return None


def led_past(cluster: Cluster, service: Object, number: int, proxy: Proxy, target: int) -> tuple[Fact, ...]:
    """A port of the gateway's Service, by its place, what names it, and what the gateway listens at in its stead."""
    port, name = scope.ports(service)[number], proxy.listening.get(target, "") if target else ""
    what = f"listens there as {name}" if name else "does not listen there"
    named = labels_of(service).get(GATEWAY_PORT_LABEL)
    return (
        *([Fact(of(cluster, service, "Service"), f"metadata.labels {GATEWAY_PORT_LABEL}", named)] if named else []),
        Fact(
            of(cluster, service, "Service"),
            f"spec.ports[{number}].targetPort",
            f"{shown(port.get('targetPort', port.get('port')))} for port {port.get('port')}",
        ),
        Fact(
            f"Envoy {cluster.name}/{proxy.namespace}/{proxy.pod}",
            "listeners",
            f"{shown(sorted(proxy.listening))}; {what}",
        ),
    )


_SUSPECTS = (causes.GATEWAY_NOT_LISTENING, causes.GATEWAY_NOT_SERVING, causes.GATEWAY_WITHOUT_TLS)


def _is_agents(name: str, port: int) -> bool:
    """Whether a listener is one that every proxy has for its own readiness and statistics."""
    return name in ("readiness", "statistics") or port in (15000, 15004, 15020, 15021, 15090)


@rule
def selector(case: Case) -> Iterator[Finding]:
    """The gateway's Service selects no gateway, not all of them, or something that is none."""
    reading = case.reading
    for cluster in reading.clusters:
        pods = state.gateway_pods(cluster)
        # One without the port is no gateway of the network, whatever its labels are.
        for service in (one for one, _, _ in state.ports_for_networks(cluster)):
            own = spec_of(service).get("selector")
            everyone = [pod for pod in cluster.all("Pod", namespace_of(service)) if scope.selects(own, labels_of(pod))]
            chosen = [pod for pod in everyone if pod in pods]
            strangers = [pod for pod in everyone if pod not in pods and not scope.has_sidecar(pod)]
            if not own or not pods or (len(chosen) == len(pods) and not strangers and not _pins(own)):
                continue
            if not chosen and _is_beside_a_gateway(cluster, service, pods):
                yield from _no_gateway(reading, cluster, service)
                continue
            fact = Fact(
                of(cluster, service, "Service"),
                "spec.selector",
                f"{shown(own)} selects {len(chosen)} of {len(pods)} pods of the gateway"
                + (f", and {shown([name_of(pod) for pod in strangers])}" if strangers else ""),
            )
            labels = Fact(of(cluster, pods[0], "Pod"), "metadata.labels", shown(_short(pods[0])))
            fix = f"let the Service {name_of(service)} of {cluster.name} select istio=eastwestgateway"
            cause, witness = _why_not_selected(case, cluster, chosen, strangers)
            yield Finding(cause, Layer.GATEWAY, (fact, labels), fix, witness or _failed(reading, cluster), _FOLLOWS)


def _is_beside_a_gateway(cluster: Cluster, service: Object, pods: list[Object]) -> bool:
    """Whether another Service of the cluster selects all pods of the gateway: this one is no gateway's."""
    return any(
        other is not service
        and all(scope.selects(spec_of(other).get("selector"), labels_of(pod)) for pod in pods)
        and external_hosts(other)
        for other, _, _ in state.ports_for_networks(cluster)
    )


def _no_gateway(reading: Reading, cluster: Cluster, service: Object) -> Iterator[Finding]:
    """A Service that leads to no gateway has the label of one and an address outside; istiod skips one without."""
    hosts, network = external_hosts(service), labels_of(service).get(NETWORK_LABEL)
    if not hosts or not network:
        return
    addresses = frozenset(host_port(host, state.gateway_port(service)) for host in hosts)
    name = of(cluster, service, "Service")
    yield Finding(
        root_causes.SERVICE_IS_NO_GATEWAY,
        Layer.GATEWAY,
        (
            Fact(name, f"metadata.labels {NETWORK_LABEL}", network),
            Fact(name, "addresses outside", shown(hosts)),
            Fact(name, "spec.selector", f"{shown(spec_of(service).get('selector'))} selects no pod of the gateway"),
        ),
        f"kubectl <{cluster.name}> -n {namespace_of(service)} label service {name_of(service)} {NETWORK_LABEL}-",
        _failed_at(reading, addresses),
        _FOLLOWS,
    )


def _why_not_selected(case: Case, cluster: Cluster, chosen: list[Object], strangers: list[Object]) -> tuple[Cause, str]:
    """The cause and its witness, by which pods of the gateway, and which others, its Service selects."""
    absent_pod = causes.GATEWAY_SERVICE_SELECTS_ABSENT_POD
    if strangers:
        return causes.GATEWAY_BYPASSED, case.suspected(causes.GATEWAY_BYPASSED)
    if chosen:
        return absent_pod, case.suspected(absent_pod, causes.GATEWAY_NOT_SERVING)
    witness = _failed(case.reading, cluster) or case.suspected(*_SUSPECTS, absent_pod)
    return (absent_pod if case.suspected(absent_pod) else root_causes.GATEWAY_SELECTS_NO_GATEWAY), witness


def _pins(selector: object) -> bool:
    """Whether a selector has a label that the pods' own Deployment does not give them."""
    keys = {*selector} if isinstance(selector, dict) else set()
    given = {"app", "istio", "release", "istio.io/rev", "service.istio.io/canonical-name"}
    return not (keys & given)


def _short(pod: Object) -> dict[str, str]:
    return {key: value for key, value in labels_of(pod).items() if key in ("app", "istio", "version", "release")}


@rule
def sources(case: Case) -> Iterator[Finding]:
    """The gateway's Service admits some source addresses only."""
    reading = case.reading
    for cluster in reading.clusters:
        for service in state.gateway_services(cluster):
            ranges = [str(one) for one in spec_of(service).get("loadBalancerSourceRanges") or []]
            if ranges and not any(one.endswith("/0") for one in ranges):
                yield Finding(
                    root_causes.GATEWAY_SOURCES_LIMITED,
                    Layer.GATEWAY,
                    (Fact(of(cluster, service, "Service"), "spec.loadBalancerSourceRanges", shown(ranges)),),
                    f"admit the other networks' addresses in Service {name_of(service)} of {cluster.name}",
                    _unanswered(reading, cluster),
                    _FOLLOWS,
                )


def _unanswered(reading: Reading, cluster: Cluster) -> str:
    """A sentence on connections to a cluster's gateway that nothing answered, not even by a refusal; or empty."""
    addresses = state.gateway_addresses(reading, cluster)
    return next((said for _, _, address, said in state.timed_out(reading) if address in addresses), "")


@rule
def no_pods(case: Case) -> Iterator[Finding]:
    """A cluster has no gateway pod that runs."""
    reading = case.reading
    for cluster in reading.clusters:
        if not cluster.read("Pod") or any(scope.is_ready(pod) for pod in state.gateway_pods(cluster)):
            continue
        deployments = [one for one in cluster.all("Deployment") if labels_of(one).get("istio") == "eastwestgateway"]
        wanting = [one for one in deployments if spec_of(one).get("replicas") == 0]
        if not wanting:
            continue
        yield Finding(
            causes.GATEWAY_NOT_SERVING,
            Layer.GATEWAY,
            tuple(Fact(of(cluster, one, "Deployment"), "spec.replicas", "0") for one in wanting),
            f"kubectl <{cluster.name}> -n {namespace_of(wanting[0])} scale deployment {name_of(wanting[0])} "
            "--replicas 1",
            _failed(reading, cluster) or case.suspected(*_SUSPECTS) or case.failed("gateways_are_ready"),
            _FOLLOWS,
        )


@rule
def exposed(case: Case) -> Iterator[Finding]:
    """No Gateway exposes the service at the port for other networks."""
    reading = case.reading
    for cluster in reading.clusters:
        plane = state.control_plane_of(reading, cluster)
        pods = state.gateway_pods(cluster)
        if not plane.read("Gateway") or not pods:
            continue
        ports = {GATEWAY_PORT, *_targets(cluster, pods)}
        passing = [
            (gateway, number, server)
            for gateway in plane.all("Gateway")
            for number, server in enumerate(spec_of(gateway).get("servers") or [])
            if (server.get("tls") or {}).get("mode") == _PASSTHROUGH
        ]
        good = [
            one
            for one in passing
            if any(_selects(one[0], pod) for pod in pods)
            and any(_means(host, reading.host) for host in one[2].get("hosts") or [])
            and (one[2].get("port") or {}).get("number") in ports
        ]
        if good:
            continue
        facts = [_unfit(plane, gateway, number, server, pods, ports) for gateway, number, server in passing] or [
            Fact(
                f"Gateways {plane.name}/{plane.system_namespace}",
                "spec.servers[].tls.mode",
                f"none is {_PASSTHROUGH}; {len(plane.all('Gateway'))} Gateways: "
                f"{shown([name_of(one) for one in plane.all('Gateway')])}",
            )
        ]
        yield Finding(
            causes.SERVICES_NOT_EXPOSED,
            Layer.GATEWAY,
            tuple(facts),
            f"kubectl <{plane.name}> -n {plane.system_namespace} apply -f expose-services.yaml: a Gateway for "
            f"istio=eastwestgateway with a {_PASSTHROUGH} server at {GATEWAY_PORT} for *.local",
            state.unexposed(reading, cluster),
            _FOLLOWS | {causes.ANY_NAME_PASSED.id, causes.PLAIN_TEXT_AT_GATEWAY.id},
        )


def _selects(gateway: Object, pod: Object) -> bool:
    wanted = spec_of(gateway).get("selector") or {}
    return wanted.items() <= labels_of(pod).items()


def _means(host: str, service: str) -> bool:
    return scope.host_matches(host.rpartition("/")[2], service)


def _targets(cluster: Cluster, pods: list[Object]) -> Iterator[int]:
    """The ports to which the gateway's Services lead other networks."""
    for _, _, port in state.ports_for_networks(cluster):
        yield scope.target_of(port, *pods)


def _unfit(
    plane: Cluster, gateway: Object, number: int, server: Object, pods: list[Object], ports: Collection[int]
) -> Fact:
    if not any(_selects(gateway, pod) for pod in pods):
        value = f"{shown(spec_of(gateway).get('selector'))} selects none of {len(pods)} pods of the gateway"
        return Fact(of(plane, gateway, "Gateway"), "spec.selector", value)
    if (server.get("port") or {}).get("number") not in ports:
        return Fact(of(plane, gateway, "Gateway"), f"spec.servers[{number}].port", shown(server.get("port")))
    return Fact(of(plane, gateway, "Gateway"), f"spec.servers[{number}].hosts", shown(server.get("hosts")))


@rule
def hairpin(case: Case) -> Iterator[Finding]:
    """A gateway passes the service's requests on to another network."""
    reading = case.reading
    for cluster in reading.clusters:
        for proxy, name, host, other in _passed_on(reading, cluster):
            view = str(proxy.metadata.get("REQUESTED_NETWORK_VIEW", ""))
            yield Finding(
                causes.GATEWAY_HAIRPIN, Layer.GATEWAY,
                (
                    Fact(f"Pod {cluster.name}/{proxy.namespace}/{proxy.pod}",
                         "env ISTIO_META_REQUESTED_NETWORK_VIEW", shown(view or None)),
                    Fact(f"Envoy {cluster.name}/{proxy.namespace}/{proxy.pod}", name, host.address),
                ),
                "set ISTIO_META_REQUESTED_NETWORK_VIEW of the gateway to its own network",
                f"Envoy of {proxy.pod} passes {reading.host} on to {host.address} of {other.name}",
                UNREACHED | {causes.GATEWAY_HAIRPIN.id, causes.BOTH_VERSIONS_EVERYWHERE.id},
            )  # fmt: skip


def _passed_on(reading: Reading, cluster: Cluster) -> Iterator[tuple[Proxy, str, Host, Cluster]]:
    """Each Envoy cluster of a gateway with an endpoint at a gateway of another network.

    With the proxy, its Envoy cluster, the first such endpoint, and the cluster of the other gateway.
    """
    others = [one for one in reading.clusters if one.network != cluster.network]
    for proxy in cluster.of(GATEWAY):
        for name, hosts in proxy.endpoints.items():
            if not name.startswith("outbound_.") or not name.endswith(f"_.{reading.host}"):
                continue
            for other in others:
                addresses = state.gateway_addresses(reading, other)
                if passed := [host for host in hosts if host.address in addresses]:
                    yield proxy, name, passed[0], other


@rule
def view(case: Case) -> Iterator[Finding]:
    """A gateway asks istiod for the endpoints of networks among which its own is not, and so passes nothing on."""
    reading = case.reading
    for cluster in reading.clusters:
        for proxy in cluster.of(GATEWAY):
            asked = str(proxy.metadata.get("REQUESTED_NETWORK_VIEW", ""))
            if not asked or not cluster.network or cluster.network in state.networks_asked_for(proxy):
                continue
            yield Finding(
                root_causes.GATEWAY_VIEW_WRONG, Layer.GATEWAY,
                (
                    Fact(f"Pod {cluster.name}/{proxy.namespace}/{proxy.pod}",
                         "env ISTIO_META_REQUESTED_NETWORK_VIEW", f"{asked}; the network is {cluster.network}"),
                ),
                f"set ISTIO_META_REQUESTED_NETWORK_VIEW of {cluster.name}'s gateway to {cluster.network}",
                state.passes_nothing(reading, cluster, proxy), _FOLLOWS,
            )  # fmt: skip


@rule
def gateway_destination_rules(case: Case) -> Iterator[Finding]:
    """A DestinationRule that no client sees binds a gateway by its namespace, and has it expect no mutual TLS."""
    reading = case.reading
    for cluster in reading.clusters:
        plane = state.control_plane_of(reading, cluster)
        for proxy in cluster.of(GATEWAY):
            for one in plane.all("DestinationRule", proxy.namespace):
                if not _binds_gateways_alone(reading, one):
                    continue
                for place, mode in _tls_modes(spec_of(one).get("trafficPolicy") or {}):
                    yield Finding(
                        root_causes.GATEWAY_RULE_CHANGES_TLS,
                        Layer.RULE,
                        (
                            Fact(of(plane, one), place, mode),
                            Fact(of(plane, one), "spec.exportTo", shown(spec_of(one).get("exportTo"))),
                        ),
                        f"kubectl <{plane.name}> -n {namespace_of(one)} delete destinationrule {name_of(one)}",
                        state.passes_nothing(reading, cluster, proxy),
                        _FOLLOWS,
                    )


def _binds_gateways_alone(reading: Reading, one: Object) -> bool:
    """Whether a DestinationRule for the Service is exported to its own namespace alone, where no client is."""
    spec, own = spec_of(one), namespace_of(one)
    if spec.get("workloadSelector") or own in (reading.namespace, *reading.client_namespaces):
        return False
    seen_by = (*reading.client_namespaces, reading.namespace)
    return scope.rule_means(one, str(spec.get("host", "")), reading.host, reading.domain) and not any(
        scope.exported_to(spec.get("exportTo"), own, other) for other in seen_by
    )


def _tls_modes(policy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Where a traffic policy sets another mode than mutual TLS, and which."""
    for place, level in scope.policy_levels(policy):
        mode = (level.get("tls") or {}).get("mode")
        if mode and mode != "ISTIO_MUTUAL":
            yield f"{place}.tls.mode", str(mode)
