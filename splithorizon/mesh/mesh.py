"""The mesh as a test holds it: its clusters, its istiods, and the configuration that they read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.istio import gateway_services
from splithorizon.istio.horizon import Horizon, distinguishable_groups
from splithorizon.istio.info import Address, ClusterInfo, MeshInfo, NetworkMode
from splithorizon.istio.names import NO_CLUSTER, config_map_of
from splithorizon.istio.topology import Route, Watch
from splithorizon.kube import manifests
from splithorizon.kube.client import Object, Objects
from splithorizon.mesh.cluster import Cluster
from splithorizon.traffic.istiod import ControlPlane
from splithorizon.undo import mutations


class Mesh:
    """Every cluster by its name. Rules go to every config cluster, questions to every istiod."""

    def __init__(self, info: MeshInfo) -> None:
        """Take what is known of the mesh; nothing is read yet."""
        self.info = info
        self._clusters = {
            name: Cluster(
                cluster,
                info.namespace,
                partial(self._resolve, cluster.control_plane),
                info.domain,
                partial(self._held, cluster),
            )
            for name, cluster in info.clusters.items()
        }
        self._running_istiod = {
            name: Cluster(cluster.running_istiod, info.namespace, partial(self._resolve, name))
            for name, cluster in info.clusters.items()
            if cluster.running_istiod is not cluster
        }

    def __getitem__(self, name: str) -> Cluster:
        """The cluster of that name; raises KeyError where there is none."""
        return self._clusters[name]

    def __iter__(self) -> Iterator[Cluster]:
        """Every cluster, in the order of the topology."""
        return iter(self._clusters.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The clusters' names, in the order of the topology."""
        return tuple(self._clusters)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every ordered pair of clusters on different networks."""
        return self.info.routes

    @property
    def pairs(self) -> tuple[Route, ...]:
        """Every ordered pair of different clusters: first those on different networks."""
        return self.info.pairs

    @property
    def client_routes(self) -> tuple[Route, ...]:
        """The first route of each client to another network: one batch of its requests is judged on all its routes."""
        first: dict[str, Route] = {}
        for route in self.routes:
            first.setdefault(route.near, route)
        return tuple(first.values())

    def horizon(self, client: str, *, unknown: Collection[str] = ()) -> Horizon:
        """The endpoints of helloworld that the client of a cluster has to hold, by its pods and gateways of now.

        ``unknown`` are the clusters that its istiod does not know.
        """
        networks, mode = self.info.networks, self.info.network_mode
        far = {name for name in self.names if networks[name] != networks[client]}
        # A gateway with a name is known by what proxies hold of it: it would be waited for.
        read = far - {*unknown} if mode is NetworkMode.LABELS else far
        known = Horizon(
            client,
            networks,
            pods={cluster.name: cluster.helloworld_addresses for cluster in self},
            gateways={name: self[name].gateway_addresses if name in read else frozenset() for name in self.names},
            mode=mode,
        )
        return known.forgetting(unknown)

    def version_groups(self, client: str) -> tuple[frozenset[str], ...]:
        """The versions of helloworld by ``distinguishable_groups`` of the client of a cluster."""
        versions = self.info.workload_versions
        return tuple(
            frozenset(versions[name] for name in group) for group in distinguishable_groups(client, self.info.networks)
        )

    def helloworld_on_network_of(self, name: str) -> frozenset[str]:
        """The addresses of the service's pods in all clusters of a cluster's network."""
        return frozenset[str]().union(*(cluster.helloworld_addresses for cluster in self.sharing_network(name)))

    def sharing_network(self, name: str) -> tuple[Cluster, ...]:
        """The clusters of a cluster's network, itself among them."""
        return tuple(self._clusters[cluster.name] for cluster in self.info.sharing_network(name))

    def gateways_of_unnamed_clusters(self, name: str) -> list[str]:
        """The gateways in meshNetworks, of a cluster's network, that belong to clusters that are not named.

        No Service of a named cluster has such an address, and istiod watches a cluster that is not named.
        """
        mode, sharing = self.info.network_mode, self.sharing_network(name)
        asked = self.control_plane_of(name).info.istiod_is_asked
        if self.info.owned or mode is not NetworkMode.MESH_NETWORKS or not asked:
            return []
        own = {
            address
            for cluster in sharing
            for address in gateway_services.all_addresses(
                cluster.kube, gateway_services.of_network(cluster.kube, cluster.info.network, mode)
            )
        }
        found = {address for cluster in sharing for address in cluster.info.gateways if address not in own}
        if not found:
            return []
        watched = {one.cluster_id for clusters in self.istiod_of(name).clusters().values() for one in clusters}
        return sorted(map(str, found)) if watched - self.cluster_ids else []

    @property
    def watches(self) -> tuple[Watch, ...]:
        """Each cluster that runs istiod with every other cluster, which that istiod has to watch."""
        return self.info.watches

    @property
    def control_planes(self) -> tuple[Cluster, ...]:
        """The clusters that run istiod."""
        return tuple(self._clusters[cluster.name] for cluster in self.info.control_planes)

    @property
    def config_clusters(self) -> tuple[Cluster, ...]:
        """The clusters in which an istiod reads its configuration."""
        return tuple(self._clusters[cluster.name] for cluster in self.info.config_clusters)

    def control_plane_of(self, name: str) -> Cluster:
        """The cluster whose istiod manages that cluster: itself where it runs istiod."""
        return self._clusters[self.info.clusters[name].control_plane]

    def running_istiod_of(self, name: str) -> Cluster:
        """The cluster that runs the pods of a control plane's istiod: itself, or that of an external one."""
        return self._running_istiod.get(name, self._clusters[name])

    def holding_secrets_of(self, name: str) -> Cluster:
        """The cluster in which a control plane's istiod reads remote secrets."""
        info = self.info.clusters[name]
        return self._clusters[name] if info.holding_secrets is info else self._running_istiod[name]

    @property
    def istiods(self) -> Mapping[str, ControlPlane]:
        """The istiod of the mesh's revision of each cluster that has one, by the cluster's name.

        Without those that run in a cluster that is not named.
        """
        return {cluster.name: self._istiod(cluster) for cluster in self.control_planes if cluster.info.istiod_is_asked}

    def istiod_of(self, name: str) -> ControlPlane:
        """The istiod that manages that cluster; raises EnvironmentBroke where the cluster that runs it is not named."""
        control_plane = self.control_plane_of(name)
        if not control_plane.info.istiod_is_asked:
            raise EnvironmentBroke(
                f"the istiod of {control_plane} runs in a cluster that is not named",
                next_command="the same with --istiod-context NAME",
            )
        return self._istiod(control_plane)

    @property
    def cluster_ids(self) -> frozenset[str]:
        """The ids by which istiod knows the clusters."""
        return frozenset(cluster.cluster_id for cluster in self.info.clusters.values())

    @property
    def folder(self) -> Path:
        """The run's folder, which holds the kubeconfigs and the undo log."""
        return next(iter(self._clusters.values())).kube.kubeconfig.parent

    def apply_rules(self, rules: Path | Objects, undo: ExitStack, *, system: bool = False) -> None:
        """Apply Istio's rules in every config cluster until the undo: in our namespace, or in the system namespace."""
        documents = [self._balanced(one) for one in (manifests.load(rules) if isinstance(rules, Path) else rules)]
        for cluster in self.config_clusters:
            namespace = cluster.system_namespace if system else self.info.namespace
            mutations.apply(cluster.kube, documents, namespace, undo)

    def change_mesh_config(self, settings: Mapping[str, Any], undo: ExitStack) -> None:
        """Set fields of the mesh configuration that every istiod reads, until the undo."""
        for cluster in self.config_clusters:
            name = config_map_of(self.info.revision_of(cluster.name))
            mutations.mesh_config(cluster.kube, name, cluster.system_namespace, dict(settings), undo)

    def change_mesh_network(self, name: str, settings: Mapping[str, Any], undo: ExitStack) -> None:
        """Set fields of a cluster's network in the meshNetworks that every istiod reads, until the undo."""
        network = self.info.clusters[name].network
        for cluster in self.config_clusters:
            config_map = config_map_of(self.info.revision_of(cluster.name))
            mutations.mesh_network(cluster.kube, config_map, cluster.system_namespace, network, dict(settings), undo)

    def _balanced(self, rule: Object) -> Object:
        """A rule that leaves to chance what ours leave to it: it takes the place of the mesh's own, and of ours."""
        if rule["kind"] != "DestinationRule" or not self.info.traffic_policy:
            return rule
        policy = {**self.info.traffic_policy, **(rule["spec"].get("trafficPolicy") or {})}
        return {**rule, "spec": {**rule["spec"], "trafficPolicy": policy}}

    def _istiod(self, cluster: Cluster) -> ControlPlane:
        return ControlPlane(
            self.running_istiod_of(cluster.name).kube,
            cluster.system_namespace,
            self.info.revision_of(cluster.name),
            rules=cluster.kube,
            secrets=self.holding_secrets_of(cluster.name).kube,
        )

    def _held(self, cluster: ClusterInfo) -> frozenset[Address]:
        """The gateways of a cluster's network that its istiod has, in any of its pods.

        Without the addresses that other clusters of the network are known to have.
        """
        if not self.control_plane_of(cluster.name).info.istiod_is_asked:
            return frozenset()
        claimed = {*self.cluster_ids, NO_CLUSTER}
        known = self.istiod_of(cluster.name).network_gateways(found_in=claimed).values()
        others = {
            gateway
            for other in self.info.sharing_network(cluster.name)
            if other.name != cluster.name
            for gateway in other.gateways
        }
        return frozenset(
            address for found in known for address in found.get(cluster.network, ()) if address not in others
        )

    def _resolve(self, control_plane: str, host: str) -> frozenset[str]:
        """The addresses of a name, by the DNS of the cluster whose istiod resolves it."""
        return self._clusters[control_plane].client.resolve(host)
