"""What a finished set-up knows: plain data that travels to xdist's workers and into the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from splithorizon import workloads
from splithorizon.mesh.gateway import NAMESPACE as SYSTEM_NAMESPACE
from splithorizon.mesh.gateway import Address
from splithorizon.topology import Role

ROOT_CONFIG_MAP = "istio-ca-root-cert"
"""Istiod tells its root to every namespace by this name; pods with a side-car mount it."""


class NetworkMode(StrEnum):
    """How istiod learns which network is where: from labels, or from meshNetworks in its ConfigMap."""

    LABELS = "labels"
    MESH_NETWORKS = "mesh-networks"


def is_default(revision: str) -> bool:
    """Whether an istiod of this revision is the one that is meant where none is named."""
    return revision in {"", "default"}


def config_map_of(revision: str) -> str:
    """The name of the ConfigMap that an istiod of this revision reads."""
    return "istio" if is_default(revision) else f"istio-{revision}"


@dataclass(frozen=True)
class Selection:
    """Pods of a namespace, by a label selector."""

    namespace: str
    labels: str


@dataclass(frozen=True)
class ClusterFacts:
    """One cluster of the mesh as the checks see it; what a mesh of others does not tell is empty."""

    role: Role
    name: str
    network: str
    cluster_id: str
    kubeconfig: Path
    kubectl: str
    gateways: tuple[Address, ...]
    gateway_pods: tuple[Selection, ...] = (Selection(SYSTEM_NAMESPACE, "istio=eastwestgateway"),)
    system_namespace: str = SYSTEM_NAMESPACE
    node_address: str = ""
    pod_subnet: str = ""
    service_subnet: str = ""
    bare: Path | None = None
    """What the cluster held before anything was installed, where that was looked at."""


@dataclass(frozen=True)
class MeshFacts:
    """The whole mesh: both clusters, what it is made of, and whether this run may do with it as it likes."""

    clusters: Mapping[Role, ClusterFacts]
    versions: Mapping[str, str]
    kind: Path | None = None
    istioctl: Path | None = None
    namespace: str = workloads.NAMESPACE
    revision: str = ""
    network_mode: NetworkMode = NetworkMode.LABELS
    owned: bool = True
    provider: str = ""
    images_mode: str = ""

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
            facts["bare"] = _path(facts["bare"])
            facts["gateway_pods"] = tuple(Selection(**pods) for pods in facts["gateway_pods"])
            facts["gateways"] = tuple(Address(**gateway) for gateway in facts["gateways"])
            clusters[Role(role)] = ClusterFacts(**facts)
        found |= {name: _path(found[name]) for name in ("kind", "istioctl")}
        found |= {"clusters": clusters, "network_mode": NetworkMode(found["network_mode"])}
        return cls(**found)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
