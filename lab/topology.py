"""The kind clusters that the lab makes: a primary and a remote on two networks, read from their manifests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from splithorizon.base.errors import UsageProblem
from splithorizon.base.paths import MANIFESTS
from splithorizon.istio.topology import PRIMARY_REMOTE, PlannedCluster

PRIMARY, REMOTE = PRIMARY_REMOTE.names
"""The one shape that the lab makes: istiod in the first cluster manages both."""

# kind names a node "<cluster>-control-plane", and a host name has at most 63 characters.
_NODE_SUFFIX = "-control-plane"
_LONGEST_HOST_NAME = 63


@dataclass(frozen=True)
class ClusterPlan:
    """A cluster's name in the mesh and in kind, its place in the topology, and the addresses that it hands out."""

    name: str
    kind_name: str
    network: str
    control_plane: str
    version: str
    cluster_id: str
    pod_subnet: str
    service_subnet: str

    @property
    def node(self) -> str:
        """The container that is the cluster's one node."""
        return node_of(self.kind_name)


@dataclass(frozen=True)
class Topology:
    """The two clusters of a mesh."""

    primary: ClusterPlan
    remote: ClusterPlan

    def __iter__(self) -> Iterator[ClusterPlan]:
        """The primary, then the remote."""
        return iter((self.primary, self.remote))

    def __getitem__(self, name: str) -> ClusterPlan:
        """The cluster of that name in the mesh; raises KeyError where there is none."""
        return {plan.name: plan for plan in self}[name]


def node_of(kind_name: str) -> str:
    """The container that is the one node of a kind cluster."""
    return f"{kind_name}{_NODE_SUFFIX}"


def plan(prefix: str) -> Topology:
    """Plan two clusters whose names in kind begin with ``prefix``.

    Raises UsageProblem where kind could not use the names.
    """
    return Topology(*(_plan(prefix, planned) for planned in PRIMARY_REMOTE))


def _plan(prefix: str, planned: PlannedCluster) -> ClusterPlan:
    longest = _LONGEST_HOST_NAME - len(_NODE_SUFFIX) - len("-primary")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", prefix) or len(prefix) > longest:
        raise UsageProblem(
            f"--cluster-name {prefix!r}: kind takes lower-case letters, digits, '-' and '.', and with "
            f"the cluster's name and the node's suffix at most {longest} of them. Nothing was created."
        )
    networking = yaml.safe_load((MANIFESTS / "kind" / f"{planned.name}.yaml").read_text())["networking"]
    return ClusterPlan(
        name=planned.name,
        kind_name=f"{prefix}-{planned.name}",
        network=planned.network,
        control_plane=planned.control_plane,
        version=planned.version,
        cluster_id=planned.name,
        pod_subnet=networking["podSubnet"],
        service_subnet=networking["serviceSubnet"],
    )
