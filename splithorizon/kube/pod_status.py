"""Whether a pod or a deployment is ready, and if not, why: judged from plain API objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from splithorizon.kube import unready_reason

Object = dict[str, Any]

SIDECAR = "istio-proxy"
_ROLLED_OUT = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")


@dataclass(frozen=True)
class Readiness:
    """How one object stands; ``reason`` is empty where it is ready."""

    kind: str
    namespace: str
    name: str
    ready: bool
    reason: str
    images: tuple[str, ...]
    containers: int
    containers_ready: int
    sidecar: bool
    restarts: int


def of_pod(pod: Object, events: Iterable[Object] = ()) -> Readiness:
    """Judge a pod by all containers that are to keep running, native sidecars among them.

    The reason names the pod's first warning, and of each container that is not ready what it does
    instead and from which image.
    """
    metadata, status = pod["metadata"], pod.get("status", {})
    lasting = _lasting(pod["spec"])
    states = {
        state["name"]: state
        for part in ("initContainerStatuses", "containerStatuses")
        for state in status.get(part) or []
    }
    good = [one for one in lasting if states.get(one["name"], {}).get("ready")]
    # A readiness gate, or being deleted, makes a pod unready whose containers all are ready.
    ready = len(good) == len(lasting) and _is_ready(status) and "deletionTimestamp" not in metadata
    return Readiness(
        kind="Pod",
        namespace=metadata["namespace"],
        name=metadata["name"],
        ready=ready,
        reason="" if ready else unready_reason.of_pod(pod, events, lasting, states),
        images=tuple(one["image"] for one in lasting),
        containers=len(lasting),
        containers_ready=len(good),
        sidecar=any(one["name"] == SIDECAR for one in lasting),
        restarts=sum(state.get("restartCount", 0) for state in states.values()),
    )


def of_deployment(deployment: Object, pods: Iterable[Object], events: Iterable[Object] = ()) -> Readiness:
    """Judge a deployment by its rollout and by ``pods``, which are to be its own.

    One that is scaled to nothing is not ready: nothing of it could answer.
    """
    metadata, spec, status = (deployment.get(part, {}) for part in ("metadata", "spec", "status"))
    events = list(events)
    judged = [of_pod(pod, events) for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    wanted = spec.get("replicas", 1)
    current = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    rolled_out = current and all(status.get(count, 0) == wanted for count in _ROLLED_OUT)
    ready = rolled_out and len(judged) == wanted > 0 and all(pod.ready for pod in judged)
    unready = [f"pod {pod.name}: {pod.reason}" for pod in judged if not pod.ready]
    return Readiness(
        kind="Deployment",
        namespace=metadata["namespace"],
        name=metadata["name"],
        ready=ready,
        reason="" if ready else unready_reason.of_deployment(deployment, events, unready),
        images=tuple(one["image"] for one in _lasting(spec["template"]["spec"])),
        containers=sum(pod.containers for pod in judged),
        containers_ready=sum(pod.containers_ready for pod in judged),
        sidecar=bool(judged) and all(pod.sidecar for pod in judged),
        restarts=sum(pod.restarts for pod in judged),
    )


def _lasting(spec: Object) -> list[Object]:
    """Find what ``kubectl get pods`` counts: a native sidecar is an init container that stays."""
    started_first = spec.get("initContainers") or []
    native = [one for one in started_first if one.get("restartPolicy") == "Always"]
    return native + list(spec["containers"])


def _is_ready(status: Object) -> bool:
    conditions = status.get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
