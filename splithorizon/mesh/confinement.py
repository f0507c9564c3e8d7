"""What keeps a client in its own cluster; the suites name it, and collecting them imports nothing else of the mesh."""

from __future__ import annotations

from enum import StrEnum


class Confinement(StrEnum):
    """What confines the requests of a client to its own cluster."""

    SUBSET = "a subset"
    CLUSTER_LOCAL = "clusterLocal"
    HEADLESS = "a headless service"
