"""Statistics of a network's gateway about a batch of requests from the other network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from splithorizon.traffic import workloads
from splithorizon.traffic.proxy import Proxy
from splithorizon.traffic.requests import Reply


def server_name(namespace: str, domain: str, service: str = workloads.SERVICE) -> str:
    """The SNI by which a sidecar reaches a Service through a gateway; it is also the gateway's Envoy cluster."""
    return f"outbound_.{workloads.PORT}_._.{service}.{namespace}.svc.{domain}"


@dataclass(frozen=True)
class Counts:
    """Counters of all pods of a gateway: bytes received with an SNI, and connections that match no filter chain."""

    passed: int
    turned_away: int

    @classmethod
    def read(cls, pods: Mapping[Proxy, int], name: str) -> Self:
        """Read the counters of each pod, whose port is given; ``name`` is the SNI."""
        passed = sum(pod.bytes_received(name) for pod in pods)
        return cls(passed, sum(pod.unmatched_connections(port) for pod, port in pods.items()))

    def since(self, earlier: Counts) -> Counts:
        """The increase since ``earlier``."""
        return Counts(self.passed - earlier.passed, self.turned_away - earlier.turned_away)


@dataclass(frozen=True)
class GatewayStats:
    """A batch of the near client, with the far gateways' upstreams for its SNI and the increase of their counters.

    ``upstreams`` are by the gateway's pod, and addresses as Envoy logs them.
    """

    server_name: str
    replies: tuple[Reply, ...]
    upstreams: Mapping[str, frozenset[str]]
    counts: Counts
