"""Gateways of Gateway API that name where a network is reached, as istiod reads them beside the gateways' Services."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from splithorizon.istio import gateway_services
from splithorizon.istio.gateway_services import named_port
from splithorizon.istio.info import Address
from splithorizon.istio.names import NETWORK_LABEL
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Kube, Object

API = "gateway.networking.k8s.io/v1"
# Of a Gateway for which nothing is deployed: it names a gateway that others run.
_REMOTE_CLASS = "istio-remote"
_LISTENER_MODE, _AUTO_PASSTHROUGH = "gateway.istio.io/listener-mode", "auto-passthrough"
_ADDRESS_TYPES = ("IPAddress", "Hostname")
_UNREADABLE = (403, 404)


@dataclass(frozen=True)
class NamedGateways:
    """What Gateways name of one cluster's gateways, and the Services that have these addresses, each with the port."""

    addresses: tuple[Address, ...] = ()
    services: tuple[tuple[Object, int], ...] = ()


def named(kubes: Mapping[str, Kube], config_clusters: Collection[str]) -> Mapping[str, tuple[Address, ...]]:
    """The addresses that Gateways name, by network.

    None of a cluster that does not serve Gateway API, or where this user may not read them. Those of the class
    istio-remote count where istiod reads its configuration, the others in every cluster.
    """
    found: dict[str, dict[Address, None]] = {}
    for name, kube in kubes.items():
        for one in _labelled(kube):
            if (one.get("spec") or {}).get("gatewayClassName") == _REMOTE_CLASS and name not in config_clusters:
                continue
            network = one["metadata"]["labels"][NETWORK_LABEL]
            found.setdefault(network, {}).update(dict.fromkeys(addresses(one)))
    return {network: tuple(known) for network, known in found.items() if known}


def addresses(gateway: Object) -> Iterator[Address]:
    """Where a Gateway says that other networks reach its network: each address with each port for mutual TLS."""
    spec, labels = gateway.get("spec") or {}, gateway["metadata"].get("labels") or {}
    ports = [int(one["port"]) for one in spec.get("listeners") or [] if _passes_on(one, labels)]
    for address in spec.get("addresses") or []:
        if address.get("type") in _ADDRESS_TYPES and address.get("value"):
            yield from (Address(str(address["value"]), port) for port in ports)


def by_cluster(
    kubes: Mapping[str, Kube], networks: Mapping[str, str], named: Mapping[str, Sequence[Address]]
) -> dict[str, NamedGateways]:
    """The gateways that are named for a network, by the cluster whose Services have the addresses.

    An address that no Service has is that of the network's first cluster.
    """
    found: dict[str, NamedGateways] = {}
    for network, known in named.items():
        serving = {name: tuple(_serving(kubes[name], known)) for name in kubes if networks[name] == network}
        served = {address for pairs in serving.values() for address, _ in pairs}
        without_service = [address for address in known if address not in served]
        for name, pairs in serving.items():
            own = [*(address for address, _ in pairs), *without_service]
            services = tuple((service, address.port) for address, service in pairs)
            found[name] = NamedGateways(tuple(dict.fromkeys(own)), services)
            without_service = []
    return found


def _serving(kube: Kube, named: Sequence[Address]) -> Iterator[tuple[Address, Object]]:
    """Each of the addresses with each Service of a cluster that has it, and its port."""
    for service in kube.list("Service"):
        hosts, ports = gateway_services.external_hosts(service), service["spec"].get("ports") or []
        for address in named:
            if address.host in hosts and any(one["port"] == address.port for one in ports):
                yield address, service


def _labelled(kube: Kube) -> list[Object]:
    try:
        return kube.list("Gateway", labels=NETWORK_LABEL, api=API)
    except Refused as refused:
        if refused.status in _UNREADABLE:
            return []
        raise


def _passes_on(listener: Object, labels: Mapping[str, str]) -> bool:
    """Whether a listener passes mutual TLS of other networks on to the pods, by its mode or by its port."""
    tls = listener.get("tls")
    if tls is None:
        return False
    mode = (tls.get("options") or {}).get(_LISTENER_MODE)
    return bool(mode == _AUTO_PASSTHROUGH or listener.get("port") == named_port(labels))
