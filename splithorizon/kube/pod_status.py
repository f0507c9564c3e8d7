"""Whether a pod or a Deployment is ready, and if not, the reason: computed from API objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from splithorizon.kube import unready_reason

Object = dict[str, Any]

USUAL_GRACE = 30
"""The grace period in seconds of a pod that has none of its own."""
SIDECAR = "istio-proxy"
_ROLLED_OUT = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")


@dataclass(frozen=True)
class Readiness:
    """The readiness of a pod or a Deployment; ``reason`` is empty if it is ready."""

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


def counts(pod: Object) -> bool:
    """Whether a pod is one of those that have to be ready: it is not being deleted, and has not ended for good."""
    ended = pod.get("status", {}).get("phase") in ("Failed", "Succeeded")
    return "deletionTimestamp" not in pod["metadata"] and not ended


def grace_period(pod: Object) -> int:
    """How many seconds the containers of a pod get to end; Kubernetes' own 30 where it says nothing."""
    seconds = (pod.get("spec") or {}).get("terminationGracePeriodSeconds")
    return USUAL_GRACE if seconds is None else int(seconds)


def of_pod(pod: Object, events: Iterable[Object] = ()) -> Readiness:
    """The readiness of a pod, from all containers that have to keep running, native sidecars included.

    The reason contains the pod's first warning event, and the state and the image of each container that is not ready.
    """
    metadata, status = pod["metadata"], pod.get("status", {})
    containers = _long_running(pod["spec"])
    states = {
        state["name"]: state
        for part in ("initContainerStatuses", "containerStatuses")
        for state in status.get(part) or []
    }
    ready_count = sum(bool(states.get(container["name"], {}).get("ready")) for container in containers)
    # A readiness gate or a deletion makes a pod unready although all its containers are ready.
    ready = ready_count == len(containers) and _is_ready(status) and "deletionTimestamp" not in metadata
    return Readiness(
        kind="Pod",
        namespace=metadata["namespace"],
        name=metadata["name"],
        ready=ready,
        reason="" if ready else unready_reason.of_pod(pod, events, containers, states),
        images=tuple(container["image"] for container in containers),
        containers=len(containers),
        containers_ready=ready_count,
        sidecar=any(container["name"] == SIDECAR for container in containers),
        restarts=sum(state.get("restartCount", 0) for state in states.values()),
    )


def of_deployment(deployment: Object, pods: Iterable[Object], events: Iterable[Object] = ()) -> Readiness:
    """The readiness of a Deployment, from its rollout and from ``pods``, which must be its own pods.

    A Deployment with no replicas is not ready, because it answers no request.
    """
    metadata, spec, status = (deployment.get(part, {}) for part in ("metadata", "spec", "status"))
    events = list(events)
    readiness = [of_pod(pod, events) for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    wanted = spec.get("replicas", 1)
    current = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    rolled_out = current and all(status.get(count, 0) == wanted for count in _ROLLED_OUT)
    ready = rolled_out and len(readiness) == wanted > 0 and all(pod.ready for pod in readiness)
    unready = [f"pod {pod.name}: {pod.reason}" for pod in readiness if not pod.ready]
    return Readiness(
        kind="Deployment",
        namespace=metadata["namespace"],
        name=metadata["name"],
        ready=ready,
        reason="" if ready else unready_reason.of_deployment(deployment, events, unready),
        images=tuple(container["image"] for container in _long_running(spec["template"]["spec"])),
        containers=sum(pod.containers for pod in readiness),
        containers_ready=sum(pod.containers_ready for pod in readiness),
        sidecar=bool(readiness) and all(pod.sidecar for pod in readiness),
        restarts=sum(pod.restarts for pod in readiness),
    )


def _long_running(spec: Object) -> list[Object]:
    """The containers that ``kubectl get pods`` counts, native sidecars (init containers that restart) included."""
    init = spec.get("initContainers") or []
    native = [container for container in init if container.get("restartPolicy") == "Always"]
    return native + list(spec["containers"])


def _is_ready(status: Object) -> bool:
    conditions = status.get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
