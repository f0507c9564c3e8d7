"""What the clients of each cluster should hold of a Service and what an Envoy there holds: endpoints and weights.

Expected are the ready pods of the client's own network and, for the pods of every other network, its gateways, which
weigh as much as the pods behind them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from splithorizon.base.addresses import host_of, host_port
from splithorizon.diagnosis import scope, state
from splithorizon.diagnosis.access import Target
from splithorizon.diagnosis.reading.model import (
    CLIENT,
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
from splithorizon.istio.gateway_services import external_hosts
from splithorizon.istio.horizon import gateways_for
from splithorizon.istio.info import NetworkMode, is_address

_PAGE = "clusters"


@dataclass(frozen=True)
class Expected:
    """One endpoint that a client should hold: a pod, or another network's gateway with the pods behind it."""

    address: str
    """Host and port; empty for a network of which no gateway's address is known."""
    weight: int
    cluster: str
    """Of which cluster it is."""
    is_gateway: bool = False
    is_host_name: bool = False
    """Whether the address is a host name, not an IP address: istiod gives Envoy an address that it resolves to."""


@dataclass(frozen=True)
class PortView:
    """One port of the Service: what is expected, and what is held; ``held`` is None where Envoy does not know it."""

    port: int
    name: str
    expected: tuple[Expected, ...]
    held: tuple[Host, ...] | None
    missing: tuple[Expected, ...] = ()
    unexpected: tuple[Host, ...] = ()
    of_another_network: tuple[Host, ...] = ()
    """Of the unexpected ones: pods that the client cannot reach by address."""
    weights_differ: bool = False
    """Whether all are held, and the shares of their weights are not as expected."""

    @property
    def wrong(self) -> bool:
        """Whether requests are lost or go one way only."""
        return bool(self.missing or self.of_another_network)


@dataclass(frozen=True)
class View:
    """What one Envoy of a cluster holds of the Service. ``proxy`` is None where none could be read: see ``unseen``."""

    cluster: str
    ports: tuple[PortView, ...]
    proxy: str | None = None
    picked: str = ""
    """Which Envoy it is, and why."""
    unseen: str = ""
    """What could not be seen, and why."""
    remark: str = ""
    """Why nothing, or less, is expected."""

    @property
    def wrong(self) -> bool:
        """Whether something that is expected is not held, or a pod of another network is."""
        return any(one.wrong for one in self.ports)


def views(reading: Reading, target: Target) -> tuple[View, ...]:
    """The view of each cluster, in the order of the clusters."""
    return tuple(_view(reading, target, cluster) for cluster in reading.clusters)


def _view(reading: Reading, target: Target, cluster: Cluster) -> View:
    ports = _ports(reading, cluster)
    picked = _pick(reading, target, cluster)
    proxy = picked[0] if picked else None
    networks = state.networks_asked_for(proxy) if proxy else None
    remark = _remark(reading)
    found = tuple(
        _port(reading, cluster, proxy, number, name, networks if networks else None, bool(remark))
        for number, name in ports.items()
    )
    if proxy is None:
        return View(cluster.name, found, unseen=_unseen(reading, target, cluster), remark=remark)
    if networks:
        remark = f"it asks for endpoints of {', '.join(sorted(networks))} alone"
    return View(cluster.name, found, f"{proxy.namespace}/{proxy.pod}", picked[1] if picked else "", remark=remark)


def _pick(reading: Reading, target: Target, cluster: Cluster) -> tuple[Proxy, str] | None:
    """The Envoy whose endpoints are shown, and what it is: a client, a pod of the Service, or a gateway."""
    for proxy in cluster.of(CLIENT):
        if _PAGE not in proxy.read:
            continue
        if target.client_name and _is_asked_client(cluster, target, proxy):
            return proxy, "the client that was named"
        of_service = any(
            (namespace_of(pod), name_of(pod)) == (proxy.namespace, proxy.pod) for pod in state.pods_of(reading, cluster)
        )
        if of_service:
            return proxy, "a pod of the Service itself: no other pod of its namespace has a sidecar"
        return proxy, f"a pod with a sidecar in namespace {proxy.namespace}"
    gateways = [one for one in cluster.of(GATEWAY) if _PAGE in one.read]
    # One without a network of its own sees all that a client sees.
    for proxy in sorted(gateways, key=lambda one: bool(state.networks_asked_for(one))):
        return proxy, "a gateway: no pod of the Service's namespace has a sidecar"
    return None


def _is_asked_client(cluster: Cluster, target: Target, proxy: Proxy) -> bool:
    """Whether the proxy is in the pod that ``--client`` names, or in one of the Deployment that it names."""
    if proxy.namespace != target.senders_in:
        return False
    if proxy.pod == target.client_name:
        return True
    pod, deployment = (
        cluster.get("Pod", proxy.pod, proxy.namespace),
        cluster.get("Deployment", target.client_name, target.senders_in),
    )
    if pod is None or deployment is None:
        return False
    return scope.matches_labels(spec_of(deployment).get("selector") or {}, labels_of(pod))


def _unseen(reading: Reading, target: Target, cluster: Cluster) -> str:
    if not cluster.read("Pod"):
        return f"the pods of {cluster.name} could not be read"
    if cluster.proxies:
        reasons = {one.reason for one in reading.unread if one.cluster == cluster.name and one.what.startswith(_PAGE)}
        return f"no Envoy of {cluster.name} could be read: {'; '.join(sorted(reasons)) or 'no answer'}"
    return (
        f"no pod that runs in {target.senders_in} of {cluster.name} has a sidecar, and no gateway runs there: "
        "what its clients hold cannot be seen"
    )


def _remark(reading: Reading) -> str:
    if state.shares_nothing(reading):
        return "the Service is headless or a name: clients resolve it by DNS, and no Envoy is sent its endpoints"
    if state.no_pod_has_a_sidecar(reading):
        return "no pod of the Service has a sidecar: those of another network are not reached"
    return ""


def _ports(reading: Reading, client: Cluster) -> dict[int, str]:
    """The TCP ports of the Service, with their names, the client's own cluster's first."""
    found: dict[int, str] = {}
    for cluster in (client, *(one for one in reading.clusters if one.name != client.name)):
        for port in scope.ports(state.service_of(reading, cluster) or {}):
            if port.get("protocol", "TCP") != "UDP":
                found.setdefault(int(port["port"]), str(port.get("name") or ""))
    return found


def _port(
    reading: Reading,
    client: Cluster,
    proxy: Proxy | None,
    number: int,
    name: str,
    networks: frozenset[str] | None,
    near_only: bool,
) -> PortView:
    wanted: tuple[Expected, ...] = ()
    if not state.shares_nothing(reading):
        wanted = tuple(_expected(reading, client, number, name, networks, near_only=near_only))
    if proxy is None:
        return PortView(number, name, wanted, None)
    held = state.held(proxy, reading.host).get(number)
    if held is None:
        return PortView(
            number, name, wanted, None,
            missing=tuple(one for one in wanted if _has_selector(reading, reading[one.cluster])),
        )  # fmt: skip
    known = {host.address: host for host in held}
    unexpected = [host for address, host in known.items() if address not in {one.address for one in wanted}]
    missing = []
    for one in wanted:
        if one.address in known:
            continue
        resolved = [
            host for host in unexpected if one.is_host_name and state.may_be_named(reading, reading[one.cluster], host)
        ]
        # Endpoints that a person wrote by hand may be ones that Istio puts into no network.
        if not resolved and _has_selector(reading, reading[one.cluster]):
            missing.append(one)
        unexpected = [host for host in unexpected if host not in resolved]
    return PortView(
        number,
        name,
        wanted,
        held,
        tuple(missing),
        tuple(unexpected),
        tuple(host for host in unexpected if _is_pod_elsewhere(reading, client, host)),
        not missing and not unexpected and _shares_differ(wanted, held),
    )


def _has_selector(reading: Reading, cluster: Cluster) -> bool:
    service = state.service_of(reading, cluster)
    return service is None or bool(spec_of(service).get("selector"))


def _is_pod_elsewhere(reading: Reading, client: Cluster, host: Host) -> bool:
    ip = host_of(host.address)
    own = [one for one in reading.clusters if one.network == client.network]
    others = [one for one in reading.clusters if one.network != client.network]
    return any(ip in state.pod_addresses(reading, one) for one in others) and not any(
        ip in state.pod_addresses(reading, one) for one in own
    )


def _shares_differ(wanted: tuple[Expected, ...], held: tuple[Host, ...]) -> bool:
    total, expected = sum(host.weight for host in held), sum(one.weight for one in wanted)
    if not total or not expected or any(one.is_host_name for one in wanted):
        return False
    weights: dict[str, int] = {}
    for host in held:
        weights[host.address] = weights.get(host.address, 0) + host.weight
    return any(Fraction(weights.get(one.address, 0), total) != Fraction(one.weight, expected) for one in wanted)


def _expected(
    reading: Reading, client: Cluster, number: int, name: str, networks: frozenset[str] | None, *, near_only: bool
) -> Iterator[Expected]:
    """The endpoints of a port, weighted as istiod does: gateways share the weight of the pods behind them evenly.

    With labels these are the gateways of the pods' own cluster, and those of its network where that has none.
    """
    clusters = [one for one in reading.clusters if not networks or one.network in networks]
    near = {one.name: _addresses(reading, one, number, name) for one in clusters if one.network == client.network}
    far: list[tuple[int, list[str], str]] = []
    for one in clusters:
        pods = len(_addresses(reading, one, number, name))
        if one.network != client.network and not near_only and pods:
            far.append((pods, _gateways_for(reading, one) or [""], one.name))
    unit = lcm(*(len(gateways) for _, gateways, _ in far))
    for home, addresses in near.items():
        yield from (Expected(address, unit, home) for address in addresses)
    weights: dict[str, int] = {}
    homes: dict[str, tuple[str, str]] = {}
    for count, gateways, home in far:
        for address in gateways:
            # Networks without a known gateway are told apart by their own names.
            place = address or reading[home].network
            weights[place] = weights.get(place, 0) + count * unit // len(gateways)
            homes.setdefault(place, (address, home))
    for place, weight in weights.items():
        address, home = homes[place]
        is_host_name = bool(address) and not is_address(host_of(address))
        yield Expected(address, weight, home, is_gateway=True, is_host_name=is_host_name)


def _gateways_for(reading: Reading, cluster: Cluster) -> list[str]:
    """The gateways in place of a cluster's pods, as host:port."""
    in_config_map = any(cluster.network in state.mesh_networks(reading, plane) for plane in reading.config_clusters)
    return gateways_for(
        cluster.name,
        {one.name: one.network for one in reading.clusters},
        {one.name: _gateways(one) for one in reading.clusters},
        NetworkMode.MESH_NETWORKS if in_config_map else NetworkMode.LABELS,
    )


def _gateways(cluster: Cluster) -> list[str]:
    """Where other networks reach a cluster's pods, as host:port: as known before, else as its Services have it."""
    said = [
        host_port(host, state.gateway_port(one))
        for one in state.gateway_services(cluster)
        for host in external_hosts(one)
    ]
    return list(dict.fromkeys((*cluster.gateways, *(() if cluster.gateways else said))))


def _addresses(reading: Reading, cluster: Cluster, number: int, name: str) -> list[str]:
    """The ready endpoints of a port in a cluster, as host:port: pods, or what a Service without selector leads to."""
    service = state.service_of(reading, cluster)
    port = _same_port(service, number, name)
    if service is not None and not spec_of(service).get("selector"):
        return list(_of_slices(reading, cluster, service, port))
    if port is None:
        others = (_same_port(state.service_of(reading, one), number, name) for one in reading.clusters)
        port = next((one for one in others if one), None)
    found = []
    for pod in state.pods_of(reading, cluster):
        ip = str((pod.get("status") or {}).get("podIP") or "")
        at = scope.target_of(port or {"port": number}, pod)
        if ip and at and scope.is_ready(pod):
            found.append(host_port(ip, at))
    return found


def _same_port(service: Object | None, number: int, name: str) -> Mapping[str, object] | None:
    ports = scope.ports(service or {})
    alike = [one for one in ports if one.get("port") == number] or [one for one in ports if one.get("name") == name]
    return alike[0] if alike else None


def _of_slices(reading: Reading, cluster: Cluster, service: Object, port: Mapping[str, object] | None) -> Iterator[str]:
    for one in cluster.all("EndpointSlice", reading.namespace):
        if labels_of(one).get("kubernetes.io/service-name") != name_of(service):
            continue
        numbers = [
            known.get("port")
            for known in one.get("ports") or []
            if str(known.get("name") or "") == str((port or {}).get("name") or "")
        ]
        for endpoint in one.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready", True):
                for ip in endpoint.get("addresses") or []:
                    yield from (host_port(ip, at) for at in numbers)
