"""Two clusters on two networks, by their roles; read from the manifests that make them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from splithorizon.base.errors import UsageProblem
from splithorizon.base.paths import MANIFESTS
from splithorizon.istio.topology import Role

# kind names a node "<cluster>-control-plane", and a host name has at most 63 characters.
_NODE_SUFFIX = "-control-plane"
_LONGEST_HOST_NAME = 63


@dataclass(frozen=True)
class ClusterPlan:
    """What one cluster is called and which addresses it hands out."""

    role: Role
    name: str
    network: str
    cluster_id: str
    pod_subnet: str
    service_subnet: str

    @property
    def node(self) -> str:
        """The container that is the cluster's one node."""
        return node_of(self.name)


@dataclass(frozen=True)
class Topology:
    """The two clusters of a mesh."""

    primary: ClusterPlan
    remote: ClusterPlan

    def __iter__(self) -> Iterator[ClusterPlan]:
        """The primary, then the remote."""
        return iter((self.primary, self.remote))

    def __getitem__(self, role: Role) -> ClusterPlan:
        """The cluster in that role."""
        return self.primary if role is Role.PRIMARY else self.remote


def node_of(cluster_name: str) -> str:
    """The container that is the one node of a kind cluster."""
    return f"{cluster_name}{_NODE_SUFFIX}"


def plan(prefix: str) -> Topology:
    """Plan two clusters whose names begin with ``prefix``.

    Raises UsageProblem where kind could not use the names.
    """
    return Topology(*(_plan(prefix, role) for role in Role))


def _plan(prefix: str, role: Role) -> ClusterPlan:
    name = f"{prefix}-{role}"
    longest = _LONGEST_HOST_NAME - len(_NODE_SUFFIX) - len("-primary")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", prefix) or len(prefix) > longest:
        raise UsageProblem(
            f"--cluster-name {prefix!r}: kind takes lower-case letters, digits, '-' and '.', and with "
            f"the role and the node's suffix at most {longest} of them. Nothing was created."
        )
    networking = yaml.safe_load((MANIFESTS / "kind" / f"{role}.yaml").read_text())["networking"]
    return ClusterPlan(
        role=role,
        name=name,
        network=f"{role}-network",
        cluster_id=str(role),
        pod_subnet=networking["podSubnet"],
        service_subnet=networking["serviceSubnet"],
    )
