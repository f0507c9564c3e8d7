"""Reads the configuration and the statistics of a pod's Envoy from its admin endpoints."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any
from urllib.parse import quote

from cryptography import x509

from splithorizon.istio.info import Address
from splithorizon.istio.workload_certificate import WorkloadCertificate
from splithorizon.kube.client import Kube
from splithorizon.kube.pod_status import SIDECAR
from splithorizon.traffic.debug_api import DebugApi
from splithorizon.traffic.upstream_counts import Host, UpstreamCounts

# Envoy's name for the certificate of a workload.
_WORKLOADS = "default"
_HEALTHY = {"eds_health_status": "HEALTHY"}


@dataclass(frozen=True)
class Endpoint:
    """One endpoint of a proxy's cluster, its load-balancing weight, and Envoy's health flags if it is not healthy."""

    address: Address
    weight: int
    health_flags: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Address, weight and health flags, as messages show them."""
        notes = [f"weight {self.weight}", *self.health_flags]
        return f"{self.address} ({', '.join(notes)})"


@dataclass(frozen=True)
class Identity:
    """The metadata that a proxy sends to istiod; a missing value is empty."""

    network: str
    cluster_id: str
    discovery_address: str


def share_of(addresses: Collection[str], endpoints: Collection[Endpoint]) -> Fraction:
    """The share of the total weight that the endpoints with these addresses have."""
    total = sum(endpoint.weight for endpoint in endpoints)
    part = sum(endpoint.weight for endpoint in endpoints if str(endpoint.address) in addresses)
    return Fraction(part, total) if total else Fraction(0)


class Proxy:
    """The Envoy of a pod.

    Every method and property raises EnvironmentBroke if Envoy does not answer, or answers in an unknown format.
    """

    def __init__(self, kube: Kube, namespace: str, pod: str) -> None:
        """Set the pod; no request is sent."""
        self.name = f"{pod}.{namespace}"
        self._envoy = DebugApi(kube, namespace, pod, SIDECAR, ("pilot-agent", "request"))

    def endpoints(self, cluster: str) -> tuple[Endpoint, ...]:
        """The endpoints of one Envoy cluster; none if the proxy has no such cluster."""
        # An Envoy that knows no filter answers with every cluster: of a mesh with 500 Services that is megabytes.
        path = f"clusters?format=json&filter={quote(f'^{re.escape(cluster)}$')}"
        return self._envoy.get(path, _endpoints).get(cluster, ())

    def upstream_counts(self, host: str) -> UpstreamCounts:
        """What the proxy has counted of each endpoint of a host, in all of the host's Envoy clusters."""
        path = f"clusters?format=json&filter={quote(re.escape('|' + host) + '$')}"
        return self._envoy.get(path, partial(_upstream_counts, host))

    def bytes_received(self, server_name: str) -> int:
        """The bytes received since the start on connections with this SNI."""
        name = f"tcp.{server_name}.downstream_cx_rx_bytes_total"
        counts = self._envoy.get(f"stats?format=json&filter=^{re.escape(name)}$", _counts)
        return counts.get(name, 0)

    def unmatched_connections(self, port: int) -> int:
        """The connections to a port since the start that were closed because no filter chain matches (NR)."""
        counts = self._envoy.get(f"stats?format=json&filter=_{port}\\.no_filter_chain_match$", _counts)
        return sum(counts.values())

    @property
    def draining(self) -> int:
        """The number of replaced listeners and filter chains that still drain; their connections end with them."""
        return sum(self._envoy.get("stats?format=json&filter=^listener_manager\\.total_.*_draining$", _counts).values())

    @property
    def identity(self) -> Identity:
        """The metadata with which the proxy was started and which it sends to istiod."""
        return self._envoy.get("server_info", _identity)

    @property
    def certificates(self) -> tuple[WorkloadCertificate, ...]:
        """The workload certificates of the proxy, without duplicates."""
        return self._envoy.get("certs", _certificates)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The chain that the proxy serves as a workload, its own certificate first; empty while it has none."""
        return self._envoy.get("config_dump?resource=dynamic_active_secrets", _chain)

    def expected_identities(self, cluster: str) -> frozenset[str]:
        """The identities of which a server of one Envoy cluster has to have one; empty without TLS."""
        name = quote(f"^{re.escape(cluster)}$")
        return self._envoy.get(f"config_dump?resource=dynamic_active_clusters&name_regex={name}", _expected_identities)

    @property
    def refused_updates(self) -> Mapping[str, int]:
        """The updates from istiod that were refused since the start, by the name of the statistic."""
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
    return {stat["name"]: int(stat["value"]) for stat in stats["stats"]}


def expected_identities(cluster: Mapping[str, Any]) -> frozenset[str]:
    """The identities of which servers need one, by the configuration of an Envoy cluster: of all its kinds of TLS."""
    sockets = [match.get("transport_socket") or {} for match in cluster.get("transport_socket_matches", [])]
    found: set[str] = set()
    for socket in (*sockets, cluster.get("transport_socket") or {}):
        common = (socket.get("typed_config") or {}).get("common_tls_context") or {}
        validation = (common.get("combined_validation_context") or {}).get("default_validation_context") or {}
        found |= {name["exact"] for name in validation.get("match_subject_alt_names", []) if "exact" in name}
    return frozenset(found)


def _expected_identities(dump: Any) -> frozenset[str]:
    return frozenset[str]().union(*(expected_identities(one["cluster"]) for one in dump.get("configs", [])))


def _chain(dump: Any) -> tuple[x509.Certificate, ...]:
    for entry in dump.get("configs", []):
        if entry["name"] == _WORKLOADS:
            encoded = entry["secret"]["tls_certificate"]["certificate_chain"]["inline_bytes"]
            return tuple(x509.load_pem_x509_certificates(base64.b64decode(encoded)))
    return ()


def _certificates(certs: Any) -> tuple[WorkloadCertificate, ...]:
    leaves = [leaf for entry in certs["certificates"] for leaf in entry.get("cert_chain", [])[:1]]
    return tuple(dict.fromkeys(map(WorkloadCertificate.of_envoy, leaves)))


def _statuses(clusters: Any) -> Any:
    # Where the filter matches no cluster, the answer has no field at all.
    return [] if clusters == {} else clusters["cluster_statuses"]


def _endpoints(clusters: Any) -> dict[str, tuple[Endpoint, ...]]:
    return {
        cluster["name"]: tuple(_endpoint(host) for host in cluster.get("host_statuses", []))
        for cluster in _statuses(clusters)
        if cluster["name"].startswith("outbound")
    }


def _upstream_counts(host: str, clusters: Any) -> UpstreamCounts:
    return {
        (cluster["name"], str(_endpoint(status).address)): Host.of_envoy(status)
        for cluster in _statuses(clusters)
        if cluster["name"].startswith("outbound|") and cluster["name"].endswith(f"|{host}")
        for status in cluster.get("host_statuses", [])
    }


def _endpoint(host: Mapping[str, Any]) -> Endpoint:
    address = host["address"]["socket_address"]
    health = host["health_status"]
    return Endpoint(
        Address(address["address"], address["port_value"]),
        host["weight"],
        tuple(sorted(name if value is True else f"{name} {value}" for name, value in health.items()))
        if health != _HEALTHY
        else (),
    )
