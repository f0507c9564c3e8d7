"""Which clusters of a mesh a fault is injected into."""

from __future__ import annotations

from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.mesh import Mesh


def watching(mesh: Mesh) -> Cluster:
    """The cluster whose istiod watches the one of ``watched`` by a remote secret."""
    return mesh[mesh.watches[0].watching]


def watched(mesh: Mesh) -> Cluster:
    """The cluster whose remote secret, gateway or pods are broken."""
    return mesh[mesh.watches[0].watched]
