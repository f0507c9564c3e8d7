"""The Services of east-west gateways: which ones istiod takes, their ports, and where other networks reach them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from splithorizon.istio.info import Address, NetworkMode, Selection
from splithorizon.istio.names import GATEWAY_PORT, GATEWAY_PORT_LABEL, NETWORK_LABEL
from splithorizon.kube.client import Kube, Object

_NODE_SELECTOR = "traffic.istio.io/nodeSelector"


def of_network(kube: Kube, network: str, mode: NetworkMode) -> list[Object]:
    """The Services of the network's east-west gateways; by label, as istiod finds them, where there are labels."""
    labels = f"{NETWORK_LABEL}={network}" if mode is NetworkMode.LABELS else ""
    return [service for service in kube.list("Service", labels=labels) if port_of(service)]


def for_sidecars(networkz: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of istiod's page ``networkz`` that sidecars use: a gateway for tunnels alone (HBONE) has port 0 there."""
    return [one for one in networkz if one.get("Port") != 0]


def port_of(service: Object) -> int:
    """The port for other networks, or 0 where the Service has none."""
    port = named_port(service["metadata"].get("labels", {}))
    return port if any(one["port"] == port for one in service["spec"].get("ports") or []) else 0


def named_port(labels: Mapping[str, str]) -> int:
    """The port for other networks that a gateway Service's labels name, which it may lack.

    Like istiod it reads numbers alone.
    """
    named = labels.get(GATEWAY_PORT_LABEL, "")
    return int(named) if named.isdecimal() else GATEWAY_PORT


def pods(services: Sequence[Object]) -> tuple[Selection, ...]:
    """The pods that the Services select, and the port at which they take other networks.

    A Service without a selector has endpoints that a person or a controller writes: it selects no pods.
    """
    return pods_at([(service, port_of(service)) for service in services])


def pods_at(services: Sequence[tuple[Object, int]]) -> tuple[Selection, ...]:
    """The same of Services that are each given with their port for other networks."""
    return tuple(
        Selection(
            service["metadata"]["namespace"],
            ",".join(f"{name}={value}" for name, value in service["spec"]["selector"].items()),
            _target_port(service, port),
        )
        for service, port in services
        if service["spec"].get("selector")
    )


def _target_port(service: Object, port: int) -> int:
    """The port of the gateway's pods that a port of the Service leads to."""
    for one in service["spec"].get("ports") or []:
        if one["port"] == port and isinstance(one.get("targetPort"), int):
            return int(one["targetPort"])
    # A port of a pod by its name: Istio's own manifests give it the Service's number.
    return port


def all_addresses(kube: Kube, services: Sequence[Object]) -> tuple[Address, ...]:
    """Where other networks reach the gateways of a network, each address once."""
    asked = any(_node_selector(service) is not None for service in services)
    nodes = (kube.list_if_allowed("Node") or []) if asked else []
    return tuple(dict.fromkeys(address for service in services for address in addresses(service, nodes)))


def addresses(service: Object, nodes: Sequence[Object] = ()) -> Iterator[Address]:
    """Where other networks reach a gateway, as its Service has it.

    Of a Service of type NodePort istiod takes the external addresses of those of ``nodes`` that an annotation selects.
    """
    selector = _node_selector(service)
    if selector is not None:
        selected = [node for node in nodes if selector.items() <= (node["metadata"].get("labels") or {}).items()]
        yield from _at_nodes(service, selected)
        return
    for host in external_hosts(service):
        yield Address(host, port_of(service))


def external_hosts(service: Object) -> list[str]:
    """The addresses and host names at which a Service is reached from outside, without those of nodes."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    found = [str(host) for entry in ingress if (host := entry.get("ip") or entry.get("hostname"))]
    return [*found, *map(str, (service.get("spec") or {}).get("externalIPs") or [])]


def _at_nodes(service: Object, nodes: Sequence[Object]) -> Iterator[Address]:
    """The first external address of each node, with the node ports of the Service's port for other networks."""
    port = port_of(service)
    numbers = [
        int(one["nodePort"]) for one in service["spec"].get("ports") or [] if one["port"] == port and "nodePort" in one
    ]
    for node in nodes:
        known = node.get("status", {}).get("addresses") or []
        external = [str(one["address"]) for one in known if one["type"] == "ExternalIP"]
        yield from (Address(host, number) for host in external[:1] for number in numbers)


def _node_selector(service: Object) -> Mapping[str, str] | None:
    """The labels of the nodes whose addresses a gateway has; None where its Service has no such annotation."""
    said = (service["metadata"].get("annotations") or {}).get(_NODE_SELECTOR, "")
    with suppress(ValueError):
        selector = json.loads(said) if said else None
        if isinstance(selector, dict) and service["spec"].get("type") == "NodePort":
            return None if service["spec"].get("externalIPs") else selector
    return None


def configured(network: Mapping[str, Any], services: list[Object]) -> Iterator[Address]:
    """The addresses that the ConfigMap gives for a network, Services named there looked up."""
    for gateway in network.get("gateways") or []:
        port = int(gateway.get("port", GATEWAY_PORT))
        if address := gateway.get("address"):
            yield Address(str(address), port)
        elif name := gateway.get("registryServiceName"):
            named = [one for one in services if str(name).startswith(_beginning_of_name(one))]
            yield from (Address(found.host, port) for service in named for found in addresses(service))


def _beginning_of_name(service: Object) -> str:
    """The name of a Service in the registry, without ``svc`` and the domain."""
    return f"{service['metadata']['name']}.{service['metadata']['namespace']}."
