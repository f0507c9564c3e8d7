"""Faults of what istiod finds out and tells."""

from __future__ import annotations

from contextlib import ExitStack

from splithorizon import changes
from splithorizon.faults.registry import fault
from splithorizon.mesh.foreign import NETWORK_LABEL
from splithorizon.mesh.model import Mesh


@fault("test_networks_are_named_alike_everywhere", cause="the system namespace lost its")
def namespace_without_network(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's system namespace loses its network label: what runs goes on, for its pods have the label still."""
    changes.remove_label(mesh.remote.kube, "Namespace", mesh.remote.system_namespace, None, NETWORK_LABEL, undo)
