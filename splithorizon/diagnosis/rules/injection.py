"""Which injection webhooks an API server calls for a pod, by their selectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from splithorizon.diagnosis import causes, scope, state
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule, shown
from splithorizon.diagnosis.reading.model import Cluster, Object, labels_of, name_of
from splithorizon.diagnosis.rules.follows import INJECTION

_SELECTORS = ("namespaceSelector", "objectSelector")


def unselected(cluster: Cluster, namespace: Object, pod: Object) -> tuple[Fact, ...]:
    """What keeps the injection webhooks from being called for a pod.

    These are the unmet parts of the webhook's selectors that lack the fewest; none where a webhook selects the pod, or
    where there is none.
    """
    found = [_unmet(cluster, one, number, webhook, (namespace, pod))
             for one, number, webhook in state.injection_webhooks(cluster)]  # fmt: skip
    return min(found, key=len, default=())


def _unmet(
    cluster: Cluster, one: Object, number: int, webhook: Object, chosen: tuple[Object, Object]
) -> tuple[Fact, ...]:
    return tuple(
        Fact(of(cluster, one), f"webhooks[{number}].{field}", f"{_expression(part)}; {_labelled(thing, part)}")
        for field, thing in zip(_SELECTORS, chosen, strict=True)
        for part in scope.unmet(webhook.get(field) or {}, labels_of(thing))
    )


def _expression(part: Mapping[str, Any]) -> str:
    values = f" {shown(part['values'])}" if part.get("values") else ""
    return f"{part.get('key')} {part.get('operator')}{values}"


def _labelled(thing: Object, part: Mapping[str, Any]) -> str:
    kind = thing.get("kind") or "Pod"
    return f"{kind} {name_of(thing)} has {shown(labels_of(thing).get(part.get('key', '')))}"


@rule
def selectors(case: Case) -> Iterator[Finding]:
    """No injection webhook is called for new pods of the service: those that are there have their sidecars yet."""
    asked = case.suspected(causes.WEBHOOK_NOT_CALLED)
    for cluster in case.reading.clusters if asked else ():
        namespace = cluster.get("Namespace", case.reading.namespace)
        pods = [pod for pod in state.pods_of(case.reading, cluster) if scope.has_sidecar(pod)]
        facts = unselected(cluster, namespace, pods[0]) if namespace and pods else ()
        if facts:
            yield Finding(
                causes.WEBHOOK_NOT_CALLED,
                Layer.LATENT,
                facts,
                select_again(cluster, facts),
                asked,
                INJECTION,
            )


def select_again(cluster: Cluster, facts: tuple[Fact, ...]) -> str:
    """What mends selectors that leave a pod out."""
    return f"let {facts[0].field} of {facts[0].object.rpartition('/')[2]} in {cluster.name} select the service's pods"
