"""Clients that a rule or a setting keeps in their own cluster for a while."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass

from splithorizon.base import parallel
from splithorizon.base.errors import TimedOut
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio.names import CLUSTER_LABEL
from splithorizon.kube import manifests
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic import workloads
from splithorizon.traffic.client import Sample

_SUBSETS = MANIFESTS / "routing" / "per-cluster-subsets.yaml"
# That none of them leaves by chance, of two equal versions, happens once in 10^12.
_ENOUGH_TO_TELL = 40


@dataclass(frozen=True)
class PinnedTraffic:
    """One client's batches while it was confined to its own cluster, with that cluster's pods, and afterwards."""

    near_pods: frozenset[str]
    meanwhile: Sample
    afterwards: Sample


def use_subsets(mesh: Mesh, undo: ExitStack) -> None:
    """Give the clients of each cluster their own subset, until the undo.

    The manifest has two clusters for the reader who applies it by hand; here each cluster of the mesh has its part.
    """
    rule, routes = manifests.load(_SUBSETS)
    ids = {cluster.name: {CLUSTER_LABEL: cluster.info.cluster_id} for cluster in mesh}
    rule["spec"]["subsets"] = [{"name": name, "labels": labels} for name, labels in ids.items()]
    routes["spec"]["http"] = [
        {
            "match": [{"sourceLabels": labels}],
            "route": [{"destination": {"host": workloads.SERVICE, "subset": name}}],
        }
        for name, labels in ids.items()
    ]
    mesh.apply_rules([rule, routes], undo)


def use_cluster_local(mesh: Mesh, undo: ExitStack) -> None:
    """Declare helloworld cluster-local in the mesh configuration, until the undo."""
    host = f"{workloads.SERVICE}.{mesh.info.namespace}.svc.{mesh.info.domain}"
    mesh.change_mesh_config({"serviceSettings": [{"settings": {"clusterLocal": True}, "hosts": [host]}]}, undo)


def await_pinned(mesh: Mesh) -> None:
    """Wait until each client is answered by its own cluster only; return all the same when the time is up."""
    parallel.for_each(mesh, _await_pinned)


def _await_pinned(cluster: Cluster) -> None:
    client, near = cluster.client, cluster.info.version

    def pinned() -> None:
        if left := sum(reply.version != near for reply in client.send(times=_ENOUGH_TO_TELL)):
            raise NotYet(f"{left} of {_ENOUGH_TO_TELL} not answered by {near}")

    with suppress(TimedOut):
        eventually(f"the client of {cluster} stays in its cluster", pinned, within=timeouts().policy_enforced)
