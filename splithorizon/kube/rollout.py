"""Waits for a deployment, and says of its pods why it is not there yet."""

from __future__ import annotations

from functools import partial

from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube import pod_status
from splithorizon.kube.client import Kube

# An installation's next step waits for this one, so a look is short of what a person would notice.
_LOOKS_EVERY = 0.2


def await_rollout(kube: Kube, name: str, namespace: str, *, within: float) -> None:
    """Wait until every pod of a deployment is ready; raises TimedOut with the reason of the first that is not."""
    look = partial(require_rolled_out, kube, name, namespace)
    eventually(f"the {kube.role}'s {name} is ready", look, within=within, every=_LOOKS_EVERY)


def require_rolled_out(kube: Kube, name: str, namespace: str) -> None:
    """Raise NotYet, with the reason, unless every pod of a deployment is ready and of its latest template."""
    deployment = kube.get("Deployment", name, namespace)
    if deployment is None:
        raise NotYet(f"there is no Deployment {namespace}/{name}")
    labels = ",".join(f"{key}={value}" for key, value in deployment["spec"]["selector"]["matchLabels"].items())
    found = pod_status.of_deployment(deployment, kube.list("Pod", namespace, labels), kube.events(namespace))
    if not found.ready:
        raise NotYet(found.reason)
