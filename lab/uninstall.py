"""Takes Istio and the workloads out of every cluster, as its documents say, and tells what is left then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from splithorizon.base import parallel, process
from splithorizon.base.errors import TimedOut
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Objects
from splithorizon.mesh import snapshot
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.snapshot import Remains, Snapshot

# On every root certificate that istiod copied into a namespace; istioctl leaves them (Istio's issue 23706).
_COPIED = "istio.io/config=true"
_GROUPS = ".istio.io"


class Uninstallation:
    """Ends a mesh for good. Its clusters were looked at before Istio came."""

    def __init__(self, mesh: Mesh, istioctl: Path) -> None:
        """Name the mesh and the istioctl of its version; nothing is deleted yet."""
        self._mesh = mesh
        self._istioctl = istioctl

    def uninstall(self) -> None:
        """Delete the workloads, the mesh and its kinds: in managed clusters first, then where istiod runs.

        Raises EnvironmentBroke where istioctl cannot.
        """
        for cluster in self._order:
            self._purge(cluster)
        for cluster in self._order:
            self._sweep(cluster)

    @property
    def remains(self) -> list[Remains]:
        """Wait until every cluster is as it was before, and return how each differs where it does not come to be.

        Raises EnvironmentBroke where one could not be read to the end.
        """
        return list(parallel.for_each((cluster.name for cluster in self._order), self.remains_of).values())

    @property
    def _order(self) -> list[Cluster]:
        return sorted(self._mesh, key=lambda cluster: cluster.info.runs_istiod)

    def remains_of(self, name: str) -> Remains:
        """Wait until a cluster is as it was before, and tell how it differs where it does not come to be.

        Raises EnvironmentBroke where it could not be looked at to the end.
        """
        cluster, within = self._mesh[name], timeouts().uninstalled
        recorded = cluster.info.snapshot_before_install
        before: Snapshot = json.loads(recorded.read_text()) if recorded else {}
        found: list[str] = []

        def as_before() -> None:
            found.clear()
            try:
                found[:] = snapshot.differences(before, snapshot.take(cluster.kube))
            except Refused as gone:
                # A kind that was listed a moment ago is no more: Istio's own are on their way out.
                raise NotYet(str(gone)) from None
            if found:
                raise NotYet("; ".join(found[:3]))

        try:
            eventually(f"the {name} is as it was before Istio", as_before, within=within)
        except TimedOut:
            if not found:
                raise
            spaces = [space for space in cluster.kube.list("Namespace") if "deletionTimestamp" in space["metadata"]]
            going = tuple(space["metadata"]["name"] for space in spaces)
            return Remains(name, len(before), tuple(found), going, tuple(_held(spaces)), within)
        return Remains(name, len(before), (), (), (), within)

    def _purge(self, cluster: Cluster) -> None:
        command = [str(self._istioctl), "uninstall", "--purge", "--skip-confirmation"]
        command += ["--kubeconfig", str(cluster.info.kubeconfig)]
        process.run(command, within=timeouts().istio_installed)
        for namespace in (self._mesh.info.namespace, cluster.system_namespace):
            cluster.kube.delete("Namespace", namespace)

    def _sweep(self, cluster: Cluster) -> None:
        for copy in cluster.kube.list("ConfigMap", labels=_COPIED):
            cluster.kube.delete("ConfigMap", copy["metadata"]["name"], copy["metadata"]["namespace"])
        for kind in cluster.kube.list("CustomResourceDefinition"):
            if kind["spec"]["group"].endswith(_GROUPS):
                cluster.kube.delete("CustomResourceDefinition", kind["metadata"]["name"])


def _held(namespaces: Objects) -> Iterator[str]:
    for space in namespaces:
        for condition in space["status"].get("conditions", ()):
            if condition["type"] == "NamespaceFinalizersRemaining" and condition["status"] == "True":
                yield f"namespace {space['metadata']['name']}: {condition['message']}"
