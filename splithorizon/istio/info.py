"""What a finished set-up knows: plain data that travels to xdist's workers and into the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from splithorizon.base.addresses import host_port
from splithorizon.istio import topology
from splithorizon.istio.names import DEFAULT_DOMAIN, GATEWAY_PORT, SYSTEM_NAMESPACE
from splithorizon.istio.topology import PlannedCluster, Route, Topology, Watch


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
        return host_port(self.host, self.port)


@dataclass(frozen=True)
class Selection:
    """Pods of a namespace, by a label selector; of a gateway also the port at which they take other networks."""

    namespace: str
    labels: str
    port: int = GATEWAY_PORT


@dataclass(frozen=True)
class ExternalIstiod:
    """An istiod that runs in a cluster without proxies, which is no cluster of the mesh: an external control plane.

    Istio counts it as the istiod of the cluster whose id it has, and in which it reads its rules. What it is called in
    both, and its namespace, is the same. ``context`` is empty where the cluster that runs it is not named.
    """

    context: str = ""
    kubeconfig: Path = Path()
    kubectl: str = ""
    holds_secrets: bool = False
    """Whether it reads remote secrets in the cluster that runs it, and not where it reads its rules."""

    @property
    def is_named(self) -> bool:
        """Whether the cluster that runs it is known, so that it can be asked."""
        return bool(self.context)


@dataclass(frozen=True)
class ClusterInfo:
    """One cluster of the mesh as the checks see it; what an existing mesh does not show is empty.

    ``name`` is the cluster's name in test ids, messages and routes, ``context`` what the user or kind calls it.
    ``control_plane`` is the name of the cluster whose istiod manages it: its own where it runs istiod itself.
    ``version`` is the version of helloworld that it alone runs.
    """

    name: str
    context: str
    cluster_id: str
    network: str
    control_plane: str
    version: str
    kubeconfig: Path
    kubectl: str
    gateways: tuple[Address, ...]
    gateway_pods: tuple[Selection, ...] = (Selection(SYSTEM_NAMESPACE, "istio=eastwestgateway"),)
    revision: str = ""
    """The revision of the istiod that manages it; empty for the default one."""
    istio: str = ""
    """The version of that istiod; empty where it is the whole mesh's."""
    system_namespace: str = SYSTEM_NAMESPACE
    node_address: str = ""
    pod_subnet: str = ""
    service_subnet: str = ""
    named_gateways: tuple[Address, ...] = ()
    """Those of ``gateways`` that a Gateway of Gateway API names, and no Service with the network's label has."""
    snapshot_before_install: Path | None = None
    """What the cluster held before anything was installed, where that was recorded."""
    sender_image: str = ""
    """The image of a watch's sender, as the cluster gets it; empty where it gets none."""
    external_istiod: ExternalIstiod | None = None
    """Where its own istiod runs, if that is another cluster."""

    @property
    def runs_istiod(self) -> bool:
        """Whether an istiod is its own: it has the cluster's id and reads its rules there."""
        return self.control_plane == self.name

    @property
    def istiod_is_asked(self) -> bool:
        """Whether its own istiod can be asked: not one that runs in a cluster that is not named."""
        return self.runs_istiod and (self.external_istiod is None or self.external_istiod.is_named)

    @property
    def running_istiod(self) -> ClusterInfo:
        """The cluster in which the pods of its own istiod run: itself, or that of the external control plane."""
        external = self.external_istiod
        if external is None or not external.is_named:
            return self
        return replace(
            self, context=external.context, kubeconfig=external.kubeconfig, kubectl=external.kubectl, gateway_pods=()
        )  # fmt: skip

    @property
    def holding_secrets(self) -> ClusterInfo:
        """The cluster in which its own istiod reads remote secrets."""
        return self.running_istiod if self.external_istiod and self.external_istiod.holds_secrets else self

    @property
    def is_managed(self) -> bool:
        """Whether its istiod is in another cluster."""
        return self.control_plane != self.name


@dataclass(frozen=True)
class MeshCondition:
    """One condition of an existing mesh: its name, what was read, and what follows from it."""

    name: str
    value: str
    consequence: str


@dataclass(frozen=True)
class MeshInfo:
    """The whole mesh: its clusters by name, what it is made of, and whether this run may do with it as it likes."""

    clusters: Mapping[str, ClusterInfo]
    versions: Mapping[str, str]
    namespace: str
    """Where the client and helloworld run."""
    kind: Path | None = None
    istioctl: Path | None = None
    revision: str = ""
    """That of the first istiod; each cluster has its own."""
    network_mode: NetworkMode = NetworkMode.LABELS
    owned: bool = True
    namespace_exists: bool = False
    """Whether ``namespace`` was there before the run, which then deletes its own objects alone."""
    provider: str = ""
    images_mode: str = ""
    not_claimed: Mapping[str, str] = field(default_factory=dict)
    """The behaviours that cannot be judged on this mesh, each with the reason, as the set-up of the run found."""
    domain: str = DEFAULT_DOMAIN
    """The DNS domain of Services."""
    conditions: tuple[MeshCondition, ...] = ()
    """What was read of the mesh before the first write, and what follows from it."""
    traffic_policy: Mapping[str, Any] = field(default_factory=dict)
    """What every DestinationRule for our Services has to contain, because the mesh's own would decide otherwise."""
    needs_admission: bool = False
    """Whether requests are refused that no ALLOW policy admits: another one restricts nothing then."""

    @property
    def topology(self) -> Topology:
        """The shape of it, from which test ids are made."""
        return Topology(
            tuple(
                PlannedCluster(
                    one.name,
                    one.network,
                    one.control_plane,
                    one.version,
                    one.pod_subnet,
                    one.service_subnet,
                    has_gateway=bool(one.gateway_pods),
                )
                for one in self.clusters.values()
            )
        )

    def host_of(self, service: str) -> str:
        """The name in Istio of a Service of our namespace."""
        return f"{service}.{self.namespace}.svc.{self.domain}"

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every ordered pair of clusters on different networks."""
        return topology.routes_across(self.clusters.values())

    @property
    def routes_within(self) -> tuple[Route, ...]:
        """Every ordered pair of different clusters on the same network."""
        return topology.routes_within(self.clusters.values())

    @property
    def pairs(self) -> tuple[Route, ...]:
        """Every ordered pair of different clusters: first those on different networks."""
        return (*self.routes, *self.routes_within)

    @property
    def watches(self) -> tuple[Watch, ...]:
        """Each cluster that runs istiod with every other cluster, which that istiod has to watch."""
        return topology.watches(self.clusters.values())

    @property
    def control_planes(self) -> tuple[ClusterInfo, ...]:
        """The clusters that run istiod."""
        return tuple(cluster for cluster in self.clusters.values() if cluster.runs_istiod)

    @property
    def config_clusters(self) -> tuple[ClusterInfo, ...]:
        """The clusters in which an istiod reads its configuration: those that run one."""
        return self.control_planes

    def revision_of(self, name: str) -> str:
        """The revision of the istiod that manages a cluster; empty for the default one."""
        return self.clusters[name].revision or self.revision

    def managed_by(self, name: str) -> tuple[ClusterInfo, ...]:
        """The clusters whose istiod is in that cluster, which is one of them where it runs istiod."""
        return tuple(cluster for cluster in self.clusters.values() if cluster.control_plane == name)

    @property
    def networks(self) -> dict[str, str]:
        """The network of each cluster, by the cluster's name."""
        return {name: cluster.network for name, cluster in self.clusters.items()}

    def sharing_network(self, name: str) -> tuple[ClusterInfo, ...]:
        """The clusters of a cluster's network, itself among them."""
        network = self.clusters[name].network
        return tuple(cluster for cluster in self.clusters.values() if cluster.network == network)

    @property
    def workload_versions(self) -> dict[str, str]:
        """The version of helloworld that each cluster alone runs, by the cluster's name."""
        return {name: cluster.version for name, cluster in self.clusters.items()}

    def to_json(self) -> str:
        """Serialise, the clusters as a list in their order; the kubeconfigs go by path, never by content."""
        return json.dumps({**asdict(self), "clusters": [asdict(one) for one in self.clusters.values()]}, default=str)

    @classmethod
    def from_json(cls, text: str) -> MeshInfo:
        """Read what ``to_json`` wrote."""
        content: dict[str, Any] = json.loads(text)
        clusters = [_cluster(one) for one in content["clusters"]]
        content |= {name: _path(content[name]) for name in ("kind", "istioctl")}
        content["clusters"] = {cluster.name: cluster for cluster in clusters}
        content["network_mode"] = NetworkMode(content["network_mode"])
        content["conditions"] = tuple(MeshCondition(**one) for one in content.get("conditions", ()))
        return cls(**content)


def _cluster(content: dict[str, Any]) -> ClusterInfo:
    content["kubeconfig"] = Path(content["kubeconfig"])
    content["snapshot_before_install"] = _path(content["snapshot_before_install"])
    content["gateway_pods"] = tuple(Selection(**pods) for pods in content["gateway_pods"])
    for name in ("gateways", "named_gateways"):
        content[name] = tuple(Address(**gateway) for gateway in content[name])
    if external := content.get("external_istiod"):
        content["external_istiod"] = ExternalIstiod(**{**external, "kubeconfig": Path(external["kubeconfig"])})
    return ClusterInfo(**content)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def is_address(host: str) -> bool:
    """Whether it is an address, and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def status_with_address(*ips: str) -> dict[str, Any]:
    """The part of a Service's status that tells of its addresses, as a load balancer writes it."""
    return {"status": {"loadBalancer": {"ingress": [{"ip": ip} for ip in ips]}}}
