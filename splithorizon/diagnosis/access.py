"""What a reading needs to know of a mesh before it reads: plain records, built from any model of one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from splithorizon.kube.client import Kube
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic import workloads


@dataclass(frozen=True)
class ClusterAccess:
    """One cluster: how it is reached, and what it is in the mesh.

    ``control_plane`` is the name of the cluster whose istiod manages it, its own where one runs there. ``gateways``
    are the addresses of its east-west gateway that are known to be right, as host:port; empty where none are.
    """

    name: str
    kube: Kube
    network: str
    cluster_id: str
    system_namespace: str
    control_plane: str
    gateways: tuple[str, ...] = ()
    revision: str = ""


@dataclass(frozen=True)
class Target:
    """The Service that a diagnosis is about, with others of its namespace that matter as well.

    ``client`` is a label selector for the pods that send, ``client_name`` the name of one or of their Deployment. Both
    are in ``client_namespace``, the Service's own where it is empty. Without either any pod with a sidecar counts.
    """

    namespace: str
    service: str
    others: tuple[str, ...] = ()
    client: str = ""
    client_name: str = ""
    client_namespace: str = ""

    @property
    def senders_in(self) -> str:
        """The namespace of the pods that send."""
        return self.client_namespace or self.namespace

    @property
    def services(self) -> tuple[str, ...]:
        """The Service itself first."""
        return (self.service, *self.others)


def clusters_of(mesh: Mesh) -> tuple[ClusterAccess, ...]:
    """The clusters of a mesh that was made or discovered."""
    return tuple(
        ClusterAccess(
            name=cluster.info.name,
            kube=cluster.kube,
            network=cluster.info.network,
            cluster_id=cluster.info.cluster_id,
            system_namespace=cluster.info.system_namespace,
            control_plane=cluster.info.control_plane,
            gateways=tuple(str(address) for address in cluster.info.gateways if not address.is_name),
            revision=cluster.info.revision,
        )
        for cluster in mesh
    )


def of_mesh(mesh: Mesh) -> tuple[tuple[ClusterAccess, ...], Target, str]:
    """The records of a mesh that the suite knows, the Service that it tests, and the mesh's revision."""
    others = ("echo", workloads.HEADLESS, *(workloads.helloworld_of(cluster.info.version) for cluster in mesh))
    target = Target(mesh.info.namespace, workloads.SERVICE, others, f"app={workloads.CLIENT}")
    return clusters_of(mesh), target, mesh.info.revision


def control_planes(clusters: Iterable[ClusterAccess]) -> tuple[str, ...]:
    """The names of the clusters in which an istiod runs."""
    return tuple(dict.fromkeys(one.control_plane for one in clusters))
