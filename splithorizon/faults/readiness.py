"""Faults of what has to be ready."""

from __future__ import annotations

from contextlib import ExitStack

from splithorizon import changes, workloads
from splithorizon.diagnosis import causes
from splithorizon.faults.registry import fault
from splithorizon.kube import Kube
from splithorizon.mesh import gateway
from splithorizon.mesh.model import Mesh


@fault("test_control_plane_is_ready", cause=causes.READINESS_GATE_UNMET)
def control_plane_never_ready(mesh: Mesh, undo: ExitStack) -> None:
    """A second istiod never becomes ready, as after an upgrade that went wrong; the first goes on."""
    _never_ready(mesh.primary.kube, "istiod", mesh.primary.system_namespace, undo)


@fault("test_gateways_are_ready", cause=causes.READINESS_GATE_UNMET)
def gateway_never_ready(mesh: Mesh, undo: ExitStack) -> None:
    """A second gateway pod never becomes ready; the first goes on."""
    _never_ready(mesh.remote.kube, gateway.NAME, mesh.remote.system_namespace, undo)


@fault("test_workloads_are_ready", cause=causes.POD_REFUSES_SIDECAR)
def workload_not_injected(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's helloworld asks for no side-car."""
    refused = {"spec": {"template": {"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}}}}
    name = workloads.helloworld_of(mesh.remote.facts.role)
    changes.patch(mesh.remote.kube, "Deployment", name, mesh.facts.namespace, refused, undo)


def _never_ready(kube: Kube, deployment: str, namespace: str, undo: ExitStack) -> None:
    gate = {"readinessGates": [{"conditionType": "splithorizon/never"}]}
    changes.patch(kube, "Deployment", deployment, namespace, {"spec": {"template": {"spec": gate}}}, undo)
