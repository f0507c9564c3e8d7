"""What a network's gateways did with a batch that came from the other network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from splithorizon.istio import names
from splithorizon.traffic import workloads
from splithorizon.traffic.proxy import Proxy
from splithorizon.traffic.requests import Reply


def server_name(namespace: str, service: str = workloads.SERVICE) -> str:
    """The name (SNI) under which a sidecar asks a gateway for a service, and the gateway's name for its upstream."""
    return f"outbound_.{workloads.PORT}_._.{service}.{namespace}.svc.cluster.local"


@dataclass(frozen=True)
class Counts:
    """What the pods of the gateway have counted, together: bytes under the name, connections turned away."""

    passed: int
    turned_away: int

    @classmethod
    def read(cls, pods: Sequence[Proxy], name: str) -> Self:
        """Ask each of them."""
        passed = sum(pod.passed_through(name) for pod in pods)
        return cls(passed, sum(pod.turned_away(names.GATEWAY_PORT) for pod in pods))

    def since(self, earlier: Counts) -> Counts:
        """What came to it since then."""
        return Counts(self.passed - earlier.passed, self.turned_away - earlier.turned_away)


@dataclass(frozen=True)
class GatewayStats:
    """A batch from the near client, with the far gateway's upstreams for it and what that counted meanwhile."""

    server_name: str
    replies: tuple[Reply, ...]
    upstreams: frozenset[str]
    counts: Counts
