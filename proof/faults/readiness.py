"""Faults of what has to be ready."""

from __future__ import annotations

from contextlib import ExitStack

from proof.faults.registry import fault
from proof.targets import watched, watching
from splithorizon.diagnosis import causes
from splithorizon.istio import names
from splithorizon.kube.client import Kube
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic import workloads
from splithorizon.undo import mutations


@fault(
    "test_control_plane_is_ready",
    cause=causes.READINESS_GATE_UNMET,
    root_cause=causes.READINESS_GATE_UNMET,
    cites=[("Pod primary/istio-system/istiod", "spec.readinessGates", "splithorizon/never")],
)
def control_plane_never_ready(mesh: Mesh, undo: ExitStack) -> None:
    """A second istiod never becomes ready, as after an upgrade that went wrong; the first goes on."""
    _never_ready(watching(mesh).kube, "istiod", watching(mesh).system_namespace, undo)


@fault(
    "test_gateways_are_ready",
    cause=causes.READINESS_GATE_UNMET,
    root_cause=causes.READINESS_GATE_UNMET,
    cites=[("Pod remote/istio-system/istio-eastwestgateway", "spec.readinessGates", "splithorizon/never")],
)
def gateway_never_ready(mesh: Mesh, undo: ExitStack) -> None:
    """A second gateway pod never becomes ready; the first goes on."""
    _never_ready(watched(mesh).kube, names.EASTWEST_GATEWAY, watched(mesh).system_namespace, undo)


@fault(
    "test_workloads_are_ready",
    cause=causes.POD_REFUSES_SIDECAR,
    root_cause=causes.POD_REFUSES_SIDECAR,
    cites=[("Pod remote/sample/helloworld-v2", "sidecar.istio.io/inject", "false")],
)
def workload_not_injected(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's helloworld asks for no sidecar."""
    refused = {"spec": {"template": {"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}}}}
    name = workloads.helloworld_of(watched(mesh).info.version)
    mutations.patch(watched(mesh).kube, "Deployment", name, mesh.info.namespace, refused, undo)


def _never_ready(kube: Kube, deployment: str, namespace: str, undo: ExitStack) -> None:
    gate = {"readinessGates": [{"conditionType": "splithorizon/never"}]}
    mutations.patch(kube, "Deployment", deployment, namespace, {"spec": {"template": {"spec": gate}}}, undo)
