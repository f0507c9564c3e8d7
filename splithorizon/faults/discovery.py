"""Faults of what istiod finds out and tells."""

from __future__ import annotations

from contextlib import ExitStack

from splithorizon import changes
from splithorizon.faults.registry import fault
from splithorizon.mesh.foreign import NETWORK_LABEL
from splithorizon.mesh.model import Mesh
from splithorizon.topology import MANIFESTS

_FAULTS = MANIFESTS / "faults"


@fault("test_networks_are_named_alike_everywhere", cause="the system namespace lost its")
def namespace_without_network(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's system namespace loses its network label: what runs goes on, for its pods have the label still."""
    changes.remove_label(mesh.remote.kube, "Namespace", mesh.remote.system_namespace, None, NETWORK_LABEL, undo)


@fault("test_every_proxy_is_synced", cause="Envoy refused what it was sent")
def cluster_refused(mesh: Mesh, undo: ExitStack) -> None:
    """The clients' side-cars are sent a cluster that Envoy refuses; those that they have go on."""
    changes.apply(mesh.primary.kube, _FAULTS / "cluster-refused.yaml", mesh.facts.namespace, undo)
