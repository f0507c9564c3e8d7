"""What a reading needs to know of a mesh before it reads: plain records, built from any model of one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from splithorizon.kube.client import Kube
from splithorizon.mesh.cluster import Cluster
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
    external: External | None = None
    """Where its own istiod runs, if that is another cluster."""

    @property
    def running_istiod(self) -> Kube:
        """The cluster that runs its own istiod, as far as it is known."""
        return self.external.istiod if self.external and self.external.istiod else self.kube

    @property
    def holding_secrets(self) -> Kube:
        """The cluster in which its own istiod reads remote secrets, as far as it is known."""
        return self.external.secrets if self.external and self.external.secrets else self.kube

    @property
    def istiod_is_asked(self) -> bool:
        """Whether its own istiod can be asked: not one that runs in a cluster that is not named."""
        return self.external is None or self.external.istiod is not None


@dataclass(frozen=True)
class External:
    """An external istiod: the cluster that runs it and the one with its remote secrets; None where not named."""

    istiod: Kube | None = None
    secrets: Kube | None = None


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
            external=_external(mesh, cluster),
        )
        for cluster in mesh
    )


def _external(mesh: Mesh, cluster: Cluster) -> External | None:
    if not cluster.info.external_istiod:
        return None
    if not cluster.info.istiod_is_asked:
        return External()
    return External(mesh.running_istiod_of(cluster.name).kube, mesh.holding_secrets_of(cluster.name).kube)


def running_istiods(clusters: Iterable[ClusterAccess]) -> tuple[ClusterAccess, ...]:
    """The clusters of external control planes, to be read beside those of the mesh: each as one without an istiod."""
    return tuple(
        replace(
            one, name=f"{one.name}-istiod", kube=one.running_istiod, control_plane=one.name, gateways=(), external=None
        )
        for one in clusters
        if one.external and one.istiod_is_asked
    )


def of_mesh(mesh: Mesh) -> tuple[tuple[ClusterAccess, ...], Target, str]:
    """The records of a mesh that the suite knows, the Service that it tests, and the mesh's revision."""
    versions = (workloads.helloworld_of(cluster.info.version) for cluster in mesh)
    others = ("echo", workloads.HEADLESS, *workloads.RULE_SERVICES, *versions)
    target = Target(mesh.info.namespace, workloads.SERVICE, others, f"app={workloads.CLIENT}")
    return clusters_of(mesh), target, mesh.info.revision


def control_planes(clusters: Iterable[ClusterAccess]) -> tuple[str, ...]:
    """The names of the clusters in which an istiod runs."""
    return tuple(dict.fromkeys(one.control_plane for one in clusters))
