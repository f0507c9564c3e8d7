"""Waits for the rollout of a Deployment; the error says why its pods are not ready."""

from __future__ import annotations

from functools import partial

from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube import pod_status
from splithorizon.kube.client import Kube

# The next step of an installation waits for this one.
_POLL_INTERVAL = 0.2


def await_rollout(kube: Kube, name: str, namespace: str, *, within: float) -> None:
    """Wait until every pod of a Deployment is ready; raises TimedOut with the reason of the first pod that is not."""
    probe = partial(require_rolled_out, kube, name, namespace)
    eventually(f"the {kube.cluster}'s {name} is ready", probe, within=within, every=_POLL_INTERVAL)


def require_rolled_out(kube: Kube, name: str, namespace: str) -> None:
    """Raise NotYet, with the reason, unless every pod of a Deployment is ready and has its current template."""
    deployment = kube.get("Deployment", name, namespace)
    if deployment is None:
        raise NotYet(f"there is no Deployment {namespace}/{name}")
    labels = ",".join(f"{key}={value}" for key, value in deployment["spec"]["selector"]["matchLabels"].items())
    readiness = pod_status.of_deployment(deployment, kube.list("Pod", namespace, labels), kube.events(namespace))
    if not readiness.ready:
        raise NotYet(readiness.reason)
