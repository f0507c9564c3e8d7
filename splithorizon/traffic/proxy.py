"""A pod's Envoy, as it describes itself: what it was told, and what it took."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from splithorizon.istio.info import Address
from splithorizon.istio.workload_certificate import WorkloadCertificate
from splithorizon.kube.client import Kube
from splithorizon.traffic.debug_api import DebugApi

_CONTAINER = "istio-proxy"
_HEALTHY = {"eds_health_status": "HEALTHY"}


@dataclass(frozen=True)
class Endpoint:
    """Where a proxy sends requests for a service, its share in them, and what keeps it from being used."""

    address: Address
    weight: int
    ailments: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As a table has it."""
        notes = [f"weight {self.weight}", *self.ailments]
        return f"{self.address} ({', '.join(notes)})"


@dataclass(frozen=True)
class Identity:
    """Who a proxy says it is when it asks istiod; what it does not say is empty."""

    network: str
    cluster_id: str
    discovery_address: str


def share_of(addresses: Collection[str], endpoints: Collection[Endpoint]) -> Fraction:
    """The part of all weight that lies at some addresses."""
    total = sum(endpoint.weight for endpoint in endpoints)
    there = sum(endpoint.weight for endpoint in endpoints if str(endpoint.address) in addresses)
    return Fraction(there, total) if total else Fraction(0)


class Proxy:
    """The Envoy in a pod; raises EnvironmentBroke where it does not answer, or in a form that is not known."""

    def __init__(self, kube: Kube, namespace: str, pod: str) -> None:
        """Name the pod; nothing is asked yet."""
        self.name = f"{pod}.{namespace}"
        self._envoy = DebugApi(kube, namespace, pod, _CONTAINER, ("pilot-agent", "request"))

    def endpoints(self, cluster: str) -> tuple[Endpoint, ...]:
        """The endpoints of one of its clusters; none where it has no such cluster."""
        clusters = self._envoy.get("clusters?format=json", _endpoints)
        return clusters.get(cluster, ())

    def passed_through(self, server_name: str) -> int:
        """How many bytes it has read, since it was started, on connections with this server name (SNI)."""
        name = f"tcp.{server_name}.downstream_cx_rx_bytes_total"
        counts = self._envoy.get(f"stats?format=json&filter=^{re.escape(name)}$", _counts)
        return counts.get(name, 0)

    def turned_away(self, port: int) -> int:
        """How many connections to a port it has closed, since it was started, for it serves no such name (NR)."""
        counts = self._envoy.get(f"stats?format=json&filter=_{port}\\.no_filter_chain_match$", _counts)
        return sum(counts.values())

    @property
    def draining(self) -> int:
        """How many listeners and filter chains it has replaced and still lets live: their connections end with them."""
        return sum(self._envoy.get("stats?format=json&filter=^listener_manager\\.total_.*_draining$", _counts).values())

    @property
    def identity(self) -> Identity:
        """What it was started with, and tells istiod."""
        return self._envoy.get("server_info", _identity)

    @property
    def certificates(self) -> tuple[WorkloadCertificate, ...]:
        """Those by which it is known to others; each once, however many of its clusters have it."""
        return self._envoy.get("certs", _certificates)

    @property
    def refused_updates(self) -> Mapping[str, int]:
        """How often, since it was started, it refused what istiod sent, by the statistic that counts it."""
        counts = self._envoy.get("stats?format=json&filter=update_rejected$", _counts)
        return {name: count for name, count in counts.items() if count}


def _identity(server_info: Any) -> Identity:
    metadata = server_info["node"]["metadata"]
    return Identity(
        network=metadata.get("NETWORK", ""),
        cluster_id=metadata.get("CLUSTER_ID", ""),
        discovery_address=metadata["PROXY_CONFIG"]["discoveryAddress"],
    )


def _counts(stats: Any) -> dict[str, int]:
    return {one["name"]: int(one["value"]) for one in stats["stats"]}


def _certificates(certs: Any) -> tuple[WorkloadCertificate, ...]:
    leaves = [leaf for one in certs["certificates"] for leaf in one.get("cert_chain", [])[:1]]
    return tuple(dict.fromkeys(map(WorkloadCertificate.of_envoy, leaves)))


def _endpoints(clusters: Any) -> dict[str, tuple[Endpoint, ...]]:
    return {
        one["name"]: tuple(_endpoint(host) for host in one.get("host_statuses", []))
        for one in clusters["cluster_statuses"]
        if one["name"].startswith("outbound")
    }


def _endpoint(host: Mapping[str, Any]) -> Endpoint:
    place = host["address"]["socket_address"]
    health = host["health_status"]
    return Endpoint(
        Address(place["address"], place["port_value"]),
        host["weight"],
        tuple(sorted(name if value is True else f"{name} {value}" for name, value in health.items()))
        if health != _HEALTHY
        else (),
    )
