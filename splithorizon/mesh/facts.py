"""What a finished set-up knows: plain data that travels to xdist's workers and into the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from splithorizon.mesh.gateway import Address
from splithorizon.topology import Role


@dataclass(frozen=True)
class ClusterFacts:
    """One cluster of the mesh as the checks see it."""

    role: Role
    name: str
    network: str
    cluster_id: str
    kubeconfig: Path
    node_address: str
    pod_subnet: str
    service_subnet: str
    gateway: Address


@dataclass(frozen=True)
class MeshFacts:
    """The whole mesh: both clusters, the tools to look at it with, and what it is made of."""

    clusters: Mapping[Role, ClusterFacts]
    istioctl: Path
    kind: Path
    kubectl: Path
    versions: Mapping[str, str]
    provider: str
    images_mode: str

    def to_json(self) -> str:
        """Serialise; the kubeconfigs go by path, never by content."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> MeshFacts:
        """Read what ``to_json`` wrote."""
        found: dict[str, Any] = json.loads(text)
        clusters = {}
        for role, facts in found["clusters"].items():
            facts["role"] = Role(facts["role"])
            facts["kubeconfig"] = Path(facts["kubeconfig"])
            facts["gateway"] = Address(**facts["gateway"])
            clusters[Role(role)] = ClusterFacts(**facts)
        programs = {name: Path(found[name]) for name in ("istioctl", "kind", "kubectl")}
        found |= {"clusters": clusters, **programs}
        return cls(**found)
