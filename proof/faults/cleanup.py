"""Faults of what is left of a mesh."""

from __future__ import annotations

from contextlib import ExitStack

from proof.faults.registry import fault
from proof.targets import watched, watching
from splithorizon.base.paths import MANIFESTS
from splithorizon.diagnosis import causes
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.mesh import Mesh
from splithorizon.undo import mutations

_FAULTS = MANIFESTS / "faults"


@fault(
    "test_uninstalling_leaves_nothing",
    cause=causes.FINALIZER_WITHOUT_CONTROLLER,
    root_cause=causes.FINALIZER_WITHOUT_CONTROLLER,
    cites=[
        (
            "ConfigMap primary/istio-system/kept-by-a-finalizer",
            "metadata.finalizers",
            "splithorizon.local/of-a-controller-that-is-gone",
        )
    ],
    spares_local=False,
)
def kept_by_a_finalizer(mesh: Mesh, undo: ExitStack) -> None:
    """The primary's system namespace stays: an object in it has a finalizer of a controller that does not run."""
    # Before the other: the proof mends no mesh that a look at this behaviour has taken away.
    undo.callback(_let_go, watching(mesh))
    watching(mesh).kube.apply(_FAULTS / "kept-by-a-finalizer.yaml", namespace=watching(mesh).system_namespace)


@fault(
    "test_uninstalling_leaves_nothing",
    cause=causes.INSTALLED_BY_OTHER_MEANS,
    root_cause=causes.INSTALLED_BY_OTHER_MEANS,
    cites=[
        (
            "ClusterRole remote/istiod-clusterrole-of-an-earlier-installation",
            "metadata.labels operator.istio.io/component",
            "not set",
        )
    ],
    spares_local=False,
)
def left_by_an_earlier_installation(mesh: Mesh, undo: ExitStack) -> None:
    """A cluster role of an installation by other means stays in the remote."""
    file = _FAULTS / "left-by-an-earlier-installation.yaml"
    mutations.apply(watched(mesh).kube, file, mesh.info.namespace, undo)


def _let_go(cluster: Cluster) -> None:
    name, namespace = "kept-by-a-finalizer", cluster.system_namespace
    if cluster.kube.get("ConfigMap", name, namespace):
        cluster.kube.patch("ConfigMap", name, namespace, {"metadata": {"finalizers": None}})
        cluster.kube.delete("ConfigMap", name, namespace)
