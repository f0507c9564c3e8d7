"""The Service itself, compared across clusters: selector, ports, kind and policies, and what adds to its endpoints."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from splithorizon.base.addresses import host_of, host_port
from splithorizon.diagnosis import causes, root_causes, scope, state
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule, shown
from splithorizon.diagnosis.reading.model import (
    CLIENT,
    SERVER,
    Cluster,
    Object,
    Reading,
    annotations_of,
    labels_of,
    name_of,
    namespace_of,
    spec_of,
)
from splithorizon.diagnosis.rules.client_rules import rules_for
from splithorizon.diagnosis.rules.follows import UNREACHED
from splithorizon.traffic import workloads

_SLICE_OF = "kubernetes.io/service-name"
_SLICE_MADE_BY = "endpointslice.kubernetes.io/managed-by"
_SLICES_OF_PODS = "endpointslice-controller.k8s.io"
_NEAR = ("PreferClose", "PreferSameZone", "PreferSameNode")
_DISTRIBUTION = "networking.istio.io/traffic-distribution"


@rule
def absent(case: Case) -> Iterator[Finding]:
    """A cluster has no such Service, though its pods, or clients for it, are there."""
    reading = case.reading
    for cluster in reading.clusters:
        if not cluster.read("Service") or state.service_of(reading, cluster):
            continue
        pods = state.pods_of(reading, cluster)
        witness = state.lacking(reading, cluster) if pods else ""
        yield Finding(
            root_causes.SERVICE_ABSENT,
            Layer.SERVICE,
            (
                Fact(
                    f"Service {cluster.name}/{reading.namespace}/{reading.service}",
                    "metadata.name",
                    f"not there; {len(pods)} pods of it are",
                ),
            ),
            f"apply the Service {reading.service} to {cluster.name} as well",
            witness or case.failed("both_versions", "own_path"),
            UNREACHED,
        )


@rule
def selector(case: Case) -> Iterator[Finding]:
    """The Service's selector leaves out pods that another cluster's selector means."""
    reading = case.reading
    for cluster in reading.clusters:
        service = state.service_of(reading, cluster)
        if service is None or not spec_of(service).get("selector"):
            continue
        meant = state.pods_of(reading, cluster)
        candidates = meant or _named_as(reading, cluster)
        own = state.selected(service, candidates)
        if not candidates or len(own) == len(candidates) or (own and not _differs(reading, cluster, service)):
            continue
        left_out = next(pod for pod in candidates if pod not in own)
        yield Finding(
            root_causes.SELECTOR_MISSES_PODS,
            Layer.SERVICE,
            (
                Fact(
                    of(cluster, service, "Service"),
                    "spec.selector",
                    f"{_typed(spec_of(service)['selector'])} selects {len(own)} of {len(candidates)} pods",
                ),
                Fact(of(cluster, left_out, "Pod"), "metadata.labels", shown(state.own_labels(left_out))),
            ),
            f"let the selector of Service {reading.service} in {cluster.name} fit its pods: "
            f"{_typed(_wanted(reading, cluster))}",
            _left_out(reading, cluster, left_out) or ("" if own else state.lacking(reading, cluster)),
            UNREACHED,
        )


def _named_as(reading: Reading, cluster: Cluster) -> list[Object]:
    """Pods that a label names as the Service is named, where the selector of no cluster means any pod at all."""
    if any(state.pods_of(reading, one) for one in reading.clusters):
        return []
    return [
        pod
        for pod in cluster.all("Pod", reading.namespace)
        if reading.service in labels_of(pod).values() and not _is_client(pod, reading)
    ]


def _left_out(reading: Reading, cluster: Cluster, pod: Object) -> str:
    """A sentence on an istiod that knows no endpoint at a pod; empty where one does or was not asked."""
    ip = str((pod.get("status") or {}).get("podIP", ""))
    for istiod in state.control_plane_of(reading, cluster).istiods:
        if istiod.shards is not None:
            known = [
                address
                for endpoints in (istiod.shards.get(reading.host) or {}).values()
                for one in endpoints
                for address in one.get("Addresses") or []
            ]
            if ip and ip not in known:
                return f"istiod {istiod.pod} has no endpoint of {reading.host} at {ip}, which is {name_of(pod)}"
    return ""


def _differs(reading: Reading, cluster: Cluster, service: Object) -> bool:
    return any(
        other is not None and spec_of(other).get("selector") != spec_of(service).get("selector")
        for one in reading.clusters
        if one.name != cluster.name
        for other in [state.service_of(reading, one)]
    )


def _wanted(reading: Reading, cluster: Cluster) -> dict[str, str]:
    for one in reading.clusters:
        other = state.service_of(reading, one)
        if one.name != cluster.name and other:
            return dict(spec_of(other).get("selector") or {})
    return {}


def _typed(labels: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _is_client(pod: Object, reading: Reading) -> bool:
    return any(name_of(pod) == proxy.pod for one in reading.clusters for proxy in one.of("client"))


@rule
def ports(case: Case) -> Iterator[Finding]:
    """A port has another name in another cluster, or is not there: istiod matches ports by name."""
    reading = case.reading
    seen: set[tuple[str, ...]] = set()
    for cluster in reading.clusters:
        service = state.service_of(reading, cluster)
        for other in reading.clusters:
            far = state.service_of(reading, other)
            if service is None or far is None or cluster.name == other.name:
                continue
            for number, port in enumerate(scope.ports(service)):
                match = next((one for one in scope.ports(far) if _number(one) == _number(port)), None)
                pair = (*sorted((cluster.name, other.name)), str(port.get("port")))
                if (match and match.get("name") == port.get("name")) or pair in seen:
                    continue
                seen.add(pair)
                place = f"spec.ports[{number}]"
                yield Finding(
                    root_causes.PORTS_DIFFER,
                    Layer.SERVICE,
                    (
                        Fact(
                            of(cluster, service, "Service"),
                            f"{place}.name",
                            f"{port.get('name')} (port {port.get('port')})",
                        ),
                        Fact(
                            of(other, far, "Service"),
                            f"{place}.name",
                            f"{match.get('name')} (port {match.get('port')})",
                        )
                        if match
                        else Fact(of(other, far, "Service"), "spec.ports", shown(_named(far))),
                    ),
                    f"give port {port.get('port')} of Service {reading.service} one name and number in every cluster",
                    _missed_at(reading, int(port["port"]), other, cluster)
                    or ("" if match else _port_unknown(reading, other, far, port)),
                    UNREACHED,
                )


def _missed_at(reading: Reading, number: int, *clusters: Cluster) -> str:
    """A sentence on a client without endpoints of one of the clusters at a port that is asked for; or empty."""
    logs = [proxy for _, proxy in state.clients(reading) if "log" in proxy.read and proxy.log]
    asked = any(
        state.parts_of(line.cluster)[1] == str(number) or line.authority.endswith(f":{number}")
        for proxy in logs
        for line in state.logged(proxy, host=reading.host)
    )
    if logs and not asked:
        return ""
    lost = (state.lacking(reading, one, others_only=True, at=number) for one in clusters)
    return next(filter(None, lost), "")


def _port_unknown(reading: Reading, cluster: Cluster, service: Object, port: Mapping[str, object]) -> str:
    """A sentence on requests for a port that a cluster's Service lacks; empty without any.

    The cluster's gateway knows no name with it, and its own clients are led to the Service's address, where nothing is.
    """
    address = host_port(str(spec_of(service).get("clusterIP", "")), str(port.get("port")))
    return state.failing_hosts(reading, state.gateway_addresses(reading, cluster)) or state.trouble(
        reading, frozenset({address}), flags=("UF", "URX")
    )


def _number(port: Mapping[str, object]) -> tuple[object, str]:
    return port.get("port"), str(port.get("protocol") or "TCP")


def _named(service: Object) -> dict[str, object]:
    return {str(one.get("name")): one.get("port") for one in scope.ports(service)}


@rule
def target_port(case: Case) -> Iterator[Finding]:
    """The Service's target port is one at which its pods do not listen."""
    reading = case.reading
    for cluster in reading.clusters:
        service = state.service_of(reading, cluster)
        if service is None:
            continue
        pods = [pod for pod in state.selected(service, state.pods_of(reading, cluster)) if scope.is_ready(pod)]
        for number, port in enumerate(scope.ports(service)):
            target = port.get("targetPort", port.get("port"))
            declared = {
                value
                for pod in pods
                for one in scope.declared(pod)
                for value in (one.get("containerPort"), one.get("name"))
                if value
            }
            if not pods or not declared or target in declared:
                continue
            witness = (
                refused_inside(cluster, int(target)) or _refused_at(reading, cluster, int(target))
                if isinstance(target, int)
                else state.lacking(reading, cluster)
            )
            yield Finding(
                root_causes.TARGET_PORT_WRONG,
                Layer.SERVICE,
                (
                    Fact(of(cluster, service, "Service"), f"spec.ports[{number}].targetPort", shown(target)),
                    Fact(of(cluster, pods[0], "Pod"), "spec.containers[].ports", shown(sorted(map(str, declared)))),
                ),
                f"let targetPort of Service {reading.service} in {cluster.name} be the port at which its pods listen",
                witness,
                UNREACHED,
            )


def refused_inside(cluster: Cluster, port: int, pod: str = "") -> str:
    """A sentence on a sidecar, or one pod's, that cannot reach its own application at a port; empty without any."""
    for proxy in cluster.of(SERVER):
        if pod and proxy.pod != pod:
            continue
        for line in state.logged(proxy, flags=("UF", "URX", "UC")):
            if line.cluster.startswith(f"inbound|{port}|"):
                return (
                    f"{line.count} requests failed in {proxy.pod} of {cluster.name} at its own port "
                    f"{port} ({line.flags})"
                )
        for host in proxy.endpoints.get(f"inbound|{port}||", ()):
            if host.never_answered:
                return (
                    f"the sidecar of {proxy.pod} failed {host.connect_failures} times to connect to its own port {port}"
                )
    return ""


def _refused_at(reading: Reading, cluster: Cluster, port: int) -> str:
    """A sentence on requests that failed at a cluster, where its pods' own logs do not say what failed; or empty."""
    if any("log" in proxy.read for proxy in cluster.of(SERVER)):
        return ""
    ips = state.pod_addresses(reading, cluster)
    within, gateways = frozenset(host_port(ip, port) for ip in ips), state.gateway_addresses(reading, cluster)
    for client, proxy in state.clients(reading):
        addresses = within if client.network == cluster.network else gateways
        for line in proxy.log:
            if line.upstream in addresses and (line.code >= 500 or {*line.flags.split(",")} & {"UF", "URX", "UC"}):
                return (
                    f"{line.count} requests of {client.name}'s {proxy.pod} failed at {line.upstream} "
                    f"({line.code} {line.flags})"
                )
    return ""


@rule
def kind(case: Case) -> Iterator[Finding]:
    """The Service is headless or a name for something outside in one cluster alone."""
    reading = case.reading
    kinds = {
        cluster.name: (cluster, service, _kind(service))
        for cluster in reading.clusters
        if (service := state.service_of(reading, cluster))
    }
    if len({one[2] for one in kinds.values()}) < 2:
        return
    lacking = [said for cluster in reading.clusters if (said := state.lacking(reading, cluster))]
    yield Finding(
        root_causes.SERVICE_KIND_DIFFERS,
        Layer.SERVICE,
        tuple(
            Fact(
                of(cluster, service, "Service"),
                "spec.clusterIP" if found != "ExternalName" else "spec.type",
                "None" if found == "headless" else found,
            )
            for cluster, service, found in kinds.values()
        ),
        f"make Service {reading.service} of one kind in every cluster",
        (lacking[0] if lacking else "") or case.failed("both_versions", "own_path", "endpoints_are"),
        UNREACHED,
    )


def _kind(service: Object) -> str:
    if spec_of(service).get("type") == "ExternalName":
        return "ExternalName"
    return "headless" if spec_of(service).get("clusterIP") == "None" else "with an address"


@rule
def kept_near(case: Case) -> Iterator[Finding]:
    """TrafficDistribution or internalTrafficPolicy of the Service keeps requests in a locality or on a node."""
    reading = case.reading
    # What a rule says of localities replaces it.
    ruled = any(
        ((spec_of(one).get("trafficPolicy") or {}).get("loadBalancer") or {}).get("localityLbSetting")
        for _, one in rules_for(reading, "DestinationRule", reading.host)
    )
    if near := kept_near_by(reading):
        yield Finding(
            root_causes.TRAFFIC_KEPT_NEAR, Layer.SERVICE, tuple(near),
            f"take trafficDistribution out of Service {reading.service} in every cluster",
            "" if ruled else prioritised(reading), UNREACHED,
        )  # fmt: skip
    local = [
        Fact(of(cluster, service, "Service"), "spec.internalTrafficPolicy", "Local")
        for cluster in reading.clusters
        if (service := state.service_of(reading, cluster)) and spec_of(service).get("internalTrafficPolicy") == "Local"
    ]
    if local:
        lacking = [said for one in reading.clusters if (said := state.lacking(reading, one))]
        yield Finding(
            root_causes.TRAFFIC_KEPT_ON_NODE, Layer.SERVICE, tuple(local),
            f"set internalTrafficPolicy of Service {reading.service} to Cluster",
            lacking[0] if lacking else "", UNREACHED,
        )  # fmt: skip


def kept_near_by(reading: Reading) -> list[Fact]:
    """What has the Service be reached as near as possible: its field in each cluster, or else its annotation."""
    near = []
    for cluster in reading.clusters:
        service = state.service_of(reading, cluster) or {}
        if (value := spec_of(service).get("trafficDistribution")) in _NEAR:
            near.append(Fact(of(cluster, service, "Service"), "spec.trafficDistribution", str(value)))
        elif str(value := annotations_of(service).get(_DISTRIBUTION)).lower() in map(str.lower, _NEAR):
            near.append(Fact(of(cluster, service, "Service"), f"metadata.annotations {_DISTRIBUTION}", str(value)))
    return near


def prioritised(reading: Reading) -> str:
    """A sentence on a client that holds the service's endpoints in several priorities; empty without any."""
    for client, proxy in state.clients(reading):
        for port, hosts in state.held(proxy, reading.host).items():
            priorities = sorted({host.priority for host in hosts})
            if len(priorities) > 1:
                last = next(host for host in hosts if host.priority == priorities[-1])
                return (
                    f"the sidecar of {client.name}'s {proxy.pod} holds {last.address} in priority {last.priority} of "
                    f"outbound|{port}||{reading.host}"
                )
    return ""


@rule
def workload_entries(case: Case) -> Iterator[Finding]:
    """A WorkloadEntry counts among the pods of the Service, and nothing answers at its address."""
    reading = case.reading
    selectors = [
        spec_of(one).get("selector") for other in reading.clusters if (one := state.service_of(reading, other))
    ]
    for plane, entry in reading.configs("WorkloadEntry"):
        spec = spec_of(entry)
        labels = spec.get("labels") or {}
        if namespace_of(entry) != reading.namespace or not any(scope.selects(one, labels) for one in selectors):
            continue
        address = str(spec.get("address", ""))
        if any(address in state.pod_addresses(reading, cluster) for cluster in reading.clusters):
            continue
        yield Finding(
            root_causes.WORKLOAD_ENTRY_UNREACHABLE,
            Layer.SERVICE,
            (
                Fact(of(plane, entry), "spec.address", f"{address}; no pod has it"),
                Fact(of(plane, entry), "spec.labels", shown(labels)),
                *([Fact(of(plane, entry), "spec.network", str(spec["network"]))] if spec.get("network") else []),
            ),
            f"kubectl <{plane.name}> -n {reading.namespace} delete workloadentry {name_of(entry)}",
            _dead_address(reading, address),
            UNREACHED | {causes.POD_WITHOUT_SIDECAR.id},
        )


def _dead_address(reading: Reading, address: str) -> str:
    """A sentence on a proxy that holds an endpoint at an address and never got an answer there; empty without any."""
    for cluster in reading.clusters:
        for proxy in cluster.proxies:
            for line in state.logged(proxy, flags=("UF", "URX", "UT", "UC")):
                if host_of(line.upstream) == address:
                    return (
                        f"{line.count} requests of {cluster.name}'s {proxy.pod} failed at {line.upstream} "
                        f"({line.flags})"
                    )
            for host in itertools.chain.from_iterable(proxy.endpoints.values()):
                if host_of(host.address) == address and host.never_answered:
                    times = f"{host.connect_failures} times"
                    return f"Envoy of {cluster.name}'s {proxy.pod} failed {times} to connect to {host.address}"
    return ""


@rule
def endpoint_slices(case: Case) -> Iterator[Finding]:
    """An EndpointSlice that Kubernetes did not make from pods has an address where nothing answers."""
    reading = case.reading
    for cluster in reading.clusters:
        for one in cluster.all("EndpointSlice", reading.namespace):
            labels = labels_of(one)
            if labels.get(_SLICE_OF) != reading.service or labels.get(_SLICE_MADE_BY) == _SLICES_OF_PODS:
                continue
            for number, endpoint in enumerate(one.get("endpoints") or []):
                yield from (
                    _slice_address(case, cluster, one, number, str(address))
                    for address in endpoint.get("addresses") or []
                    if str(address) not in state.pod_addresses(reading, cluster)
                )


def _slice_address(case: Case, cluster: Cluster, one: Object, number: int, address: str) -> Finding:
    return Finding(
        root_causes.ENDPOINT_SLICE_UNREACHABLE,
        Layer.SERVICE,
        (
            Fact(of(cluster, one), f"endpoints[{number}].addresses", f"{address}; no pod has it"),
            Fact(of(cluster, one), f"metadata.labels {_SLICE_MADE_BY}", shown(labels_of(one).get(_SLICE_MADE_BY))),
        ),
        f"kubectl <{cluster.name}> -n {namespace_of(one)} delete endpointslice {name_of(one)}",
        _dead_address(case.reading, address),
        UNREACHED | {causes.POD_WITHOUT_SIDECAR.id},
    )


@rule
def service_entries(case: Case) -> Iterator[Finding]:
    """A ServiceEntry names the service's own host."""
    reading = case.reading
    for plane, entry in reading.configs("ServiceEntry"):
        spec = spec_of(entry)
        if reading.host not in (spec.get("hosts") or []):
            continue
        if not scope.exported_to(spec.get("exportTo"), namespace_of(entry), reading.namespace):
            continue
        addresses = [str(one.get("address")) for one in spec.get("endpoints") or []]
        selected = [*_selected_by(reading, entry)]
        # The service's own pods and gateways are held anyway.
        own = {ip for one in reading.clusters for pod in state.pods_of(reading, one) for ip in scope.ips_of(pod)}
        own |= {host_of(one) for cluster in reading.clusters for one in state.gateway_addresses(reading, cluster)}
        pods = [ip for _, pod in selected for ip in scope.ips_of(pod)]
        added = [one for one in (*addresses, *pods) if one not in own]
        bound = state.seen_by_clients_of(reading, plane)
        yield Finding(
            root_causes.SERVICE_ENTRY_ADDS_ENDPOINTS,
            Layer.SERVICE,
            (
                Fact(of(plane, entry), "spec.hosts", shown(spec.get("hosts"))),
                _endpoints_of(plane, entry, addresses, selected),
            ),
            f"kubectl <{plane.name}> -n {namespace_of(entry)} delete serviceentry {name_of(entry)}",
            next((said for one in added if (said := _held_at(bound, one))), "") or _other_kind(bound),
            UNREACHED,
        )


def _selected_by(reading: Reading, entry: Object) -> Iterator[tuple[Cluster, Object]]:
    """The pods that a ServiceEntry selects, with their clusters: istiod selects in every cluster that it watches."""
    for cluster in reading.clusters:
        for pod in cluster.all("Pod", namespace_of(entry)):
            if scope.selects(scope.selector_of(entry), labels_of(pod)):
                yield cluster, pod


def _endpoints_of(plane: Cluster, entry: Object, addresses: list[str], selected: list[tuple[Cluster, Object]]) -> Fact:
    spec = spec_of(entry)
    if not (wanted := scope.selector_of(entry)):
        return Fact(of(plane, entry), "spec.endpoints", shown(addresses or spec.get("resolution")))
    names = [f"{cluster.name}/{name_of(pod)}" for cluster, pod in selected]
    return Fact(of(plane, entry), "spec.workloadSelector.labels", f"{shown(dict(wanted))} selects {shown(names)}")


@rule
def taken_address(case: Case) -> Iterator[Finding]:
    """A ServiceEntry has the address of the Service in a cluster, at one of its ports."""
    reading = case.reading
    for plane, entry in reading.configs("ServiceEntry"):
        spec = spec_of(entry)
        numbers = {one.get("number") for one in spec.get("ports") or []}
        for cluster in state.managed_by(reading, plane):
            service = state.service_of(reading, cluster)
            address = str(spec_of(service or {}).get("clusterIP") or "")
            taken = [port for port in scope.ports(service or {}) if port.get("port") in numbers]
            if reading.host in (spec.get("hosts") or []) or address not in (spec.get("addresses") or []) or not taken:
                continue
            yield Finding(
                root_causes.SERVICE_ADDRESS_TAKEN,
                Layer.SERVICE,
                (
                    Fact(of(plane, entry), "spec.addresses", shown(spec["addresses"])),
                    Fact(
                        of(cluster, service or {}, "Service"), "spec.clusterIP", f"{address}, port {taken[0]['port']}"
                    ),
                ),
                f"take {address} out of the addresses of ServiceEntry {name_of(entry)}",
                _listening_at(cluster, address, taken[0]),
                UNREACHED | {causes.PODS_NOT_SERVING.id},
            )


def _listening_at(cluster: Cluster, address: str, port: Mapping[str, Any]) -> str:
    """A sentence on a client's listener for the Service's own address, which only a port of bytes has."""
    if not re.match("https?|http2|grpc", str(port.get("appProtocol") or port.get("name") or "")):
        return ""
    for proxy in cluster.of(CLIENT):
        for one in proxy.listeners:
            if one["name"] == f"{address}_{port['port']}":
                return f"the sidecar of {cluster.name}'s {proxy.pod} has a listener {one['name']} of its own"
    return ""


def _held_at(reading: Reading, address: str) -> str:
    for client, proxy, host in state.held_hosts(reading):
        if host_of(host.address) == address:
            return f"the sidecar of {client.name}'s {proxy.pod} holds {host.address} for {reading.host}"
    return ""


def _other_kind(reading: Reading) -> str:
    for client, proxy in state.clients(reading):
        for name, config in proxy.clusters.items():
            if name.endswith(f"|{reading.host}") and config.get("type", "EDS") != "EDS":
                return f"the sidecar of {client.name}'s {proxy.pod} has {name} as {config.get('type')}"
    return ""


@rule
def protocols(case: Case) -> Iterator[Finding]:
    """A port's name or appProtocol says another protocol than what its clients speak, as failed checks show."""
    reading = case.reading
    for judge, asked in (
        (_misnamed, case.suspected(causes.PORT_MISNAMED)),
        # Of bytes that a sidecar passes on, its access log has no request.
        (_no_http, case.suspected(causes.ACCESS_LOG_OFF)),
    ):
        for cluster in reading.clusters:
            services = [found for name in reading.services if (found := state.service_of(reading, cluster, name))]
            if facts := [fact for service in services for fact in judge(cluster, service)]:
                yield Finding(
                    causes.PORT_MISNAMED, Layer.SERVICE, tuple(facts),
                    "name the ports by what is spoken there: <protocol>-<suffix>, or appProtocol", asked,
                    UNREACHED | {causes.PORT_MISNAMED.id, causes.ACCESS_LOG_OFF.id},
                )  # fmt: skip


# The ports of the suite's own echo Service, which its programs serve by these protocols whatever they are named.
_SPOKEN = {5003: "grpc", 5012: "http2", 5022: "tcp"}


# What istiod takes for bytes; a name that it does not know it leaves to Envoy to detect.
_BYTES = frozenset({"tcp", "tls", "https", "mongo", "mysql", "redis"})


def _no_http(cluster: Cluster, service: Object) -> Iterator[Fact]:
    if name_of(service) != workloads.SERVICE:
        return
    for number, port in enumerate(scope.ports(service)):
        field, said = _protocol(port)
        if said in _BYTES:
            yield Fact(of(cluster, service, "Service"), f"spec.ports[{number}].{field}", str(port.get(field)))


def _protocol(port: Mapping[str, Any]) -> tuple[str, str]:
    """The field that says a port's protocol, and what it says."""
    field = "appProtocol" if port.get("appProtocol") else "name"
    said = str(port.get(field, ""))
    return field, said.lower() if field == "appProtocol" else said.partition("-")[0].lower()


def _misnamed(cluster: Cluster, service: Object) -> Iterator[Fact]:
    for number, port in enumerate(scope.ports(service)):
        spoken = _SPOKEN.get(int(port.get("port", 0)))
        field, said = _protocol(port)
        if spoken and said != spoken and name_of(service) == "echo":
            yield Fact(
                of(cluster, service, "Service"), f"spec.ports[{number}].{field}",
                f"{port.get(field)} (port {port.get('port')}, where {spoken} is spoken)",
            )  # fmt: skip
