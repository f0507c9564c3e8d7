"""What istiod knows, and what it sent to the proxies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from cryptography import x509

from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio import service_addresses, trust_bundles
from splithorizon.istio.horizon import Horizon
from splithorizon.istio.info import Address
from splithorizon.istio.topology import Route, Watch
from splithorizon.istio.trust_bundles import CABundle
from splithorizon.kube.pod_status import Readiness
from splithorizon.mesh import config_chain
from splithorizon.mesh.config_chain import Setting
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic.istiod import RemoteSecret, Synchronisation, WatchedCluster
from splithorizon.traffic.proxy import Endpoint, share_of


@dataclass(frozen=True)
class Discovery:
    """The mesh, as its istiods and proxies describe it."""

    mesh: Mesh

    def naming_chain(self, name: str) -> list[Setting]:
        """Every place that has to give a cluster, and its network, the same name."""
        cluster = self.mesh[name]
        return list(
            config_chain.settings(
                cluster.info,
                self.mesh.info.network_mode,
                kube=cluster.kube,
                istiods=self.mesh.istiods,
                pods=cluster.injected_pods,
                gateways={gateway for sharing in self.mesh.sharing_network(name) for gateway in sharing.gateways},
                configured={
                    gateway for sharing in self.mesh.info.sharing_network(name) for gateway in sharing.gateways
                },
                cluster_ids=self.mesh.cluster_ids,
            )
        )

    def synchronisation(self, name: str) -> Synchronisation:
        """How the proxies of a cluster have taken what istiod sent them."""
        cluster = self.mesh[name]
        ours = {one.proxy.name: one.proxy for one in cluster.injected_pods}
        known = self.mesh.istiod_of(name).proxies(ours.keys())
        found = tuple(one for one in known if one.proxy in ours)
        others = tuple(one for one in known if one.proxy not in ours and one.cluster_id == cluster.info.cluster_id)
        lagging = {one.proxy for one in found if one.unacknowledged}
        refused = {proxy: ours[proxy].refused_updates for proxy in sorted(lagging)}
        return Synchronisation(tuple(ours), found, refused, others)

    @property
    def remote_secrets(self) -> Mapping[Watch, tuple[RemoteSecret, ...]]:
        """For each cluster that an istiod of another has to watch, every remote secret that this istiod reads."""
        return {watch: self.mesh.istiods[watch.watching].remote_secrets() for watch in self.mesh.watches}

    @property
    def unread_secrets(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the remote secrets in each cluster without an istiod; of an existing mesh none is looked for.

        There they do no harm, and who put them there may have plans.
        """
        managed = [cluster for cluster in self.mesh if cluster.info.is_managed and self.mesh.info.owned]
        return {
            cluster.name: tuple(
                str(secret["metadata"]["name"])
                for secret in cluster.kube.list("Secret", cluster.system_namespace, "istio/multiCluster=true")
            )
            for cluster in managed
        }

    @property
    def watched_clusters(self) -> Mapping[str, Mapping[str, tuple[WatchedCluster, ...]]]:
        """By the cluster that runs istiod, and by istiod's pods there, every cluster that it watches, its own too."""
        return {name: istiod.clusters() for name, istiod in self.mesh.istiods.items()}

    @property
    def istiod_pods(self) -> Mapping[str, list[Readiness]]:
        """For each cluster every pod of an istiod in it, of any revision; of an external one those where it runs."""
        return {
            cluster.name: self.mesh.running_istiod_of(cluster.name).control_plane_readiness for cluster in self.mesh
        }

    def istiod_address(self, name: str) -> str:
        """Where the client's sidecar of a cluster looks for istiod, as host and port."""
        return self.mesh[name].client.proxy.identity.discovery_address

    def istiod_endpoints(self, name: str) -> frozenset[Address]:
        """Where that address leads in the cluster."""
        return service_addresses.resolve(self.mesh[name].kube, self.istiod_address(name))

    def reached_otherwise(self, name: str) -> bool:
        """Whether the proxies of a cluster are connected to istiod, so that any address that they use leads there.

        Only an existing mesh may have another way than the gateway: a load balancer of istiod's own, or a name for it.
        """
        if self.mesh.info.owned:
            return False
        ours = {one.proxy.name for one in self.mesh[name].injected_pods}
        return bool(ours) and ours <= self.mesh.istiod_of(name).connected(ours)

    def istiod_certificates(self, name: str) -> tuple[x509.Certificate, ...]:
        """The chain that the istiod of an existing mesh serves to API servers; empty where its port is not reached.

        Only an existing mesh may have another CA for it than for its workloads.
        """
        if self.mesh.info.owned:
            return ()
        with suppress(EnvironmentBroke):
            return self.mesh.istiod_of(name).webhook_chain()
        return ()

    def webhook_bundles(self, name: str) -> list[CABundle]:
        """What a cluster's API server trusts when it calls istiod."""
        managed = self.mesh.info.clusters[name].is_managed
        return trust_bundles.of_webhooks(self.mesh[name].kube, self.mesh.info.revision_of(name), managed=managed)

    def root_bundle(self, name: str) -> CABundle:
        """What the pods of our namespace trust when they call istiod."""
        return trust_bundles.of_namespace(self.mesh[name].kube, self.mesh.info.namespace)

    @property
    def root_bundles(self) -> Mapping[str, CABundle]:
        """The same of every cluster, by its name."""
        return {name: self.root_bundle(name) for name in self.mesh.names}

    def endpoints_of_all_pods(self, route: Route, horizon: Horizon) -> tuple[Endpoint, ...]:
        """The near sidecar's endpoints, once the far gateway weighs what it should; as they are when time is up."""
        wanted, gateways = horizon.share_of_network(route.far), horizon.ways_to(route.far)
        client = self.mesh[route.near].client
        latest: tuple[Endpoint, ...] = ()

        def weighted() -> None:
            nonlocal latest
            latest = client.endpoints
            if (share := share_of(gateways, latest)) != wanted:
                raise NotYet(f"{share} of all weight, not {wanted}")

        with suppress(TimedOut):
            eventually(f"{route}: the far gateway's weight is {wanted}", weighted, within=timeouts().push_acknowledged)
        return latest

    @property
    def running_versions(self) -> Mapping[str, Mapping[str, int]]:
        """For each cluster the number of helloworld pods of each version."""
        return {
            cluster.name: Counter(pod["metadata"]["labels"]["version"] for pod in cluster.helloworld_pods)
            for cluster in self.mesh
        }
