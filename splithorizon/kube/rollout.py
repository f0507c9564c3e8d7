"""Waits for the rollout of a Deployment; the error says why its pods are not ready."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from splithorizon.base import waiting
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube import pod_status
from splithorizon.kube.client import Kube, Object

# The next step of an installation waits for this one.
_POLL_INTERVAL = 0.2
# Reasons of the kubelet for a container that waits: it tries again, and mostly in vain.
_STUCK_CONTAINERS = (
    "CreateContainerConfigError", "ErrImageNeverPull", "ImageInspectError", "ImagePullBackOff", "InvalidImageName",
)  # fmt: skip
_REFUSALS = ("denied", "exceeded quota", "forbidden", "violates PodSecurity", "must specify limits")
_SCALING_UP = "TriggeredScaleUp"


def await_rollout(
    kube: Kube,
    name: str,
    namespace: str,
    *,
    within: float,
    give_up_after: float | None = None,
    longer: float | None = None,
) -> None:
    """Wait until every pod of a Deployment is ready; raises TimedOut with the reason of the first pod that is not.

    With ``give_up_after`` it raises EnvironmentBroke as soon as the pods have been stuck for that many seconds by
    something that waiting does not mend. With ``longer`` it waits that long for a node that an autoscaler adds.
    """
    probe = _Probe(kube, name, namespace, within, give_up_after)
    eventually(f"the {kube.cluster}'s {name} is ready", probe, within=longer or within, every=_POLL_INTERVAL)


def require_rolled_out(kube: Kube, name: str, namespace: str) -> None:
    """Raise NotYet, with the reason, unless every pod of a Deployment is ready and has its current template."""
    deployment, pods, events = _seen(kube, name, namespace)
    readiness = pod_status.of_deployment(deployment, pods, events)
    if not readiness.ready:
        raise NotYet(readiness.reason)


def stuck(deployment: Object, pods: Sequence[Object]) -> str:
    """What keeps the pods of a Deployment from being made or started, and goes on; empty where nothing does."""
    for condition in deployment.get("status", {}).get("conditions") or []:
        message = str(condition.get("message", ""))
        refused = condition["type"] == "ReplicaFailure" and condition["status"] == "True"
        if refused and any(word in message for word in _REFUSALS):
            return f"its pods are refused: {message}"
    reasons = (f"{pod['metadata']['name']}: {reason}" for pod in pods for reason in _stuck_pod(pod))
    return next(reasons, "")


def scaling_up(events: Sequence[Object], pods: Sequence[Object]) -> bool:
    """Whether an autoscaler says that it adds a node for one of the pods."""
    names = {pod["metadata"]["name"] for pod in pods}
    return any(event.get("reason") == _SCALING_UP and event["involvedObject"].get("name") in names for event in events)


def _stuck_pod(pod: Object) -> Iterator[str]:
    """Why a container of the pod does not start, or no node takes the pod, as far as waiting does not mend it."""
    status = pod.get("status", {})
    for part in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(part) or []:
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in _STUCK_CONTAINERS:
                image = f" ({container['image']})" if container.get("image") else ""
                yield f"{container['name']}{image} {waiting['reason']}: {waiting.get('message', '')}"
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            yield f"Unschedulable: {condition.get('message', '')}"


def _seen(kube: Kube, name: str, namespace: str) -> tuple[Object, list[Object], list[Object]]:
    deployment = kube.get("Deployment", name, namespace)
    if deployment is None:
        raise NotYet(f"there is no Deployment {namespace}/{name}")
    labels = ",".join(f"{key}={value}" for key, value in deployment["spec"]["selector"]["matchLabels"].items())
    return deployment, kube.list("Pod", namespace, labels), kube.events(namespace)


@dataclass
class _Probe:
    kube: Kube
    name: str
    namespace: str
    within: float
    give_up_after: float | None
    _begun: float = field(default_factory=waiting.now)
    _stuck_since: float | None = None

    def __call__(self) -> None:
        deployment, pods, events = _seen(self.kube, self.name, self.namespace)
        readiness = pod_status.of_deployment(deployment, pods, events)
        if readiness.ready:
            return
        if self.give_up_after is not None and not scaling_up(events, pods):
            self._require_progress(stuck(deployment, pods), readiness.reason)
        raise NotYet(readiness.reason)

    def _require_progress(self, why: str, reason: str) -> None:
        """Raise EnvironmentBroke if the pods have been stuck for too long, or the time for the rollout is over.

        ``why`` is what they are stuck by, or empty; ``reason`` is why the first pod is not ready.
        """
        now = waiting.now()
        self._stuck_since = (self._stuck_since or now) if why else None
        stays = self._stuck_since is not None and now - self._stuck_since >= (self.give_up_after or 0)
        if stays or now - self._begun >= self.within:
            raise EnvironmentBroke(
                f"the {self.kube.cluster}'s {self.name} does not get ready",
                seen=why or reason,
                next_command=f"{self.kube.kubectl} -n {self.namespace} describe deployment,pods",
            )
