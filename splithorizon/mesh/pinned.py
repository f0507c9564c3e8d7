"""Clients that a rule or a setting keeps in their own cluster for a while."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import ClassVar

from splithorizon.base.errors import TimedOut
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio.names import CLUSTER_LABEL
from splithorizon.istio.topology import Route
from splithorizon.kube import manifests
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.isolated_changes import IsolatedChange
from splithorizon.mesh.sampling import Sampling
from splithorizon.traffic import workloads
from splithorizon.traffic.client import Sample

_SUBSETS = MANIFESTS / "routing" / "per-cluster-subsets.yaml"
# That none of them leaves by chance, of two equal versions, happens once in 10^12.
_ENOUGH_TO_TELL = 40
# That none of them leaves by chance, of two equal versions, happens once in 10^60.
_TIMES = 200


@dataclass(frozen=True)
class PinnedTraffic:
    """One client's batches while it was confined to its own cluster, with that cluster's pods, and afterwards."""

    near_pods: frozenset[str]
    meanwhile: Sample
    afterwards: Sample


@dataclass(eq=False)
class _Pinned(IsolatedChange[Mapping[Route, PinnedTraffic]]):
    """What keeps every client in its own cluster, as long as it asks for one Service."""

    service: ClassVar[str]
    near_pods: dict[str, frozenset[str]] = field(default_factory=dict, init=False)
    meanwhile: Mapping[Route, Sample] = field(default_factory=dict, init=False)
    afterwards: Mapping[Route, Sample] = field(default_factory=dict, init=False)

    def await_effect(self, cluster: Cluster) -> None:
        """Wait until its client is answered by its own cluster alone."""
        self._await(cluster, pinned=True)

    def await_undone(self, cluster: Cluster) -> None:
        """Wait until its client is answered by others too."""
        self._await(cluster, pinned=False)

    def look(self) -> None:
        """Send one batch from each client."""
        self.near_pods = {cluster.name: cluster.helloworld_addresses for cluster in self.mesh}
        self.meanwhile = self._samples()

    def look_again(self) -> None:
        """Send one batch more."""
        self.afterwards = self._samples()

    def _seen(self) -> Mapping[Route, PinnedTraffic]:
        return {
            route: PinnedTraffic(self.near_pods[route.near], self.meanwhile[route], self.afterwards[route])
            for route in self.mesh.routes
        }

    def _samples(self) -> Mapping[Route, Sample]:
        return Sampling(self.mesh).samples(times=_TIMES, service=self.service)

    def _await(self, cluster: Cluster, *, pinned: bool) -> None:
        client, near = cluster.client, cluster.info.version

        def so() -> None:
            replies = client.send(times=_ENOUGH_TO_TELL, service=self.service)
            left = sum(reply.version != near for reply in replies)
            if bool(left) is pinned:
                raise NotYet(f"{left} of {_ENOUGH_TO_TELL} not answered by {near}")

        where = "stays in" if pinned else "leaves"
        with suppress(TimedOut):
            eventually(f"the client of {cluster} {where} its cluster", so, within=timeouts().policy_enforced)


class PinnedBySubsets(_Pinned):
    """The clients of each cluster have a subset of their own.

    The manifest has two clusters for the reader who applies it by hand; here each cluster of the mesh has its part.
    """

    service = workloads.SUBSETS

    def apply(self, undo: ExitStack) -> None:
        """Apply the subsets and the routes to them."""
        rule, routes = manifests.load(_SUBSETS)
        ids = {cluster.name: {CLUSTER_LABEL: cluster.info.cluster_id} for cluster in self.mesh}
        rule["spec"]["subsets"] = [{"name": name, "labels": labels} for name, labels in ids.items()]
        routes["spec"]["http"] = [
            {
                "match": [{"sourceLabels": labels}],
                "route": [{"destination": {"host": self.service, "subset": name}}],
            }
            for name, labels in ids.items()
        ]
        self.mesh.apply_rules([rule, routes], undo)


class PinnedByClusterLocal(_Pinned):
    """The mesh configuration declares the Service cluster-local."""

    service = workloads.CLUSTER_LOCAL

    def apply(self, undo: ExitStack) -> None:
        """Change the mesh configuration."""
        hosts = [self.mesh.info.host_of(self.service)]
        settings = {"serviceSettings": [{"settings": {"clusterLocal": True}, "hosts": hosts}]}
        self.mesh.change_mesh_config(settings, undo)
