"""A client that is kept in its own cluster for a while."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from splithorizon.traffic.client import Sample


class Confinement(StrEnum):
    """What confines the requests of a client to its own cluster."""

    SUBSET = "a subset"
    CLUSTER_LOCAL = "clusterLocal"
    HEADLESS = "a headless service"


@dataclass(frozen=True)
class PinnedTraffic:
    """What one client was answered while it was kept in its own cluster, by whose pods, and what afterwards."""

    near_pods: frozenset[str]
    meanwhile: Sample
    afterwards: Sample
