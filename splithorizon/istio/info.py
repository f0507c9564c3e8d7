"""What a finished set-up knows: plain data that travels to xdist's workers and into the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from splithorizon.istio.names import SYSTEM_NAMESPACE
from splithorizon.istio.topology import Role


class NetworkMode(StrEnum):
    """How istiod learns which network is where: from labels, or from meshNetworks in its ConfigMap."""

    LABELS = "labels"
    MESH_NETWORKS = "mesh-networks"


@dataclass(frozen=True)
class Address:
    """What the other network's sidecars dial."""

    host: str
    port: int

    @property
    def is_name(self) -> bool:
        """Whether it has to be looked up first: some load balancers have a name alone."""
        return not is_address(self.host)

    def __str__(self) -> str:
        """As Envoy logs it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Selection:
    """Pods of a namespace, by a label selector."""

    namespace: str
    labels: str


@dataclass(frozen=True)
class ClusterInfo:
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
class MeshInfo:
    """The whole mesh: both clusters, what it is made of, and whether this run may do with it as it likes."""

    clusters: Mapping[Role, ClusterInfo]
    versions: Mapping[str, str]
    namespace: str
    """Where the client and helloworld run."""
    kind: Path | None = None
    istioctl: Path | None = None
    revision: str = ""
    network_mode: NetworkMode = NetworkMode.LABELS
    owned: bool = True
    provider: str = ""
    images_mode: str = ""

    def to_json(self) -> str:
        """Serialise; the kubeconfigs go by path, never by content."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> MeshInfo:
        """Read what ``to_json`` wrote."""
        found: dict[str, Any] = json.loads(text)
        clusters = {}
        for role, facts in found["clusters"].items():
            facts["role"] = Role(facts["role"])
            facts["kubeconfig"] = Path(facts["kubeconfig"])
            facts["bare"] = _path(facts["bare"])
            facts["gateway_pods"] = tuple(Selection(**pods) for pods in facts["gateway_pods"])
            facts["gateways"] = tuple(Address(**gateway) for gateway in facts["gateways"])
            clusters[Role(role)] = ClusterInfo(**facts)
        found |= {name: _path(found[name]) for name in ("kind", "istioctl")}
        found |= {"clusters": clusters, "network_mode": NetworkMode(found["network_mode"])}
        return cls(**found)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def is_address(host: str) -> bool:
    """Whether it is an address, and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def status_with_address(ip: str) -> dict[str, Any]:
    """The part of a Service's status that tells of its address, as a load balancer writes it."""
    return {"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}}
