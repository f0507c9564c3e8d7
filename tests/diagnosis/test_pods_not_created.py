"""Pods that the API server does not create: by Pod Security, or because the injection webhook does not answer."""

from __future__ import annotations

import pytest

from splithorizon.diagnosis import causes, root_causes
from splithorizon.diagnosis.finding import Case
from splithorizon.diagnosis.reading.model import Object
from splithorizon.diagnosis.root_cause import diagnose
from tests.support.made_reading import Change, adds, also, edits, made, sound

LABEL = "pod-security.kubernetes.io/enforce"
REFUSED = 'pods "helloworld-v2-x" is forbidden: violates PodSecurity "restricted:latest": unrestricted capabilities'


def not_created(message: str) -> Change:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    status = {"conditions": [failure], "availableReplicas": 0}
    return adds("remote", made("Deployment", "helloworld-v2", "sample", spec={"replicas": 1}, status=status))


@pytest.mark.parametrize("labels", [{LABEL: "restricted"}, {}], ids=["the namespace's level", "the server's default"])
def test_the_level_that_refuses_a_pod_is_cited_where_the_namespace_asks_for_it(labels: dict[str, str]) -> None:
    refused = also(
        not_created(REFUSED),
        edits("remote", "Namespace", "sample", lambda one: one["metadata"].setdefault("labels", {}).update(labels)),
    )
    (found,) = diagnose(Case(refused(sound()))).root_causes
    assert found.id == root_causes.PODS_NOT_CREATED.id
    cited = {fact.object: (fact.field, fact.value) for fact in found.finding.evidence}
    assert cited["Deployment remote/sample/helloworld-v2"] == ("status.conditions ReplicaFailure", REFUSED)
    named = {"Namespace remote/sample": (f"metadata.labels {LABEL}", "restricted")} if labels else {}
    assert {name: fact for name, fact in cited.items() if name.startswith("Namespace")} == named


@pytest.mark.parametrize(
    ("message", "others"),
    [
        ('failed calling webhook "namespace.sidecar-injector.istio.io": service "istiod-1-7-0" not found', []),
        ("exceeded quota: team, requested: pods=1, used: pods=2, limited: pods=2", [root_causes.PODS_NOT_CREATED.id]),
        ('failed calling webhook "pods.policy.example.com": no endpoints', [root_causes.PODS_NOT_CREATED.id]),
    ],
    ids=["by the webhook", "by a quota", "by a webhook of others"],
)
def test_pods_that_a_dead_webhook_keeps_away_are_no_cause_beside_it(message: str, others: list[str]) -> None:
    def elsewhere(one: Object) -> None:
        for webhook in one["webhooks"]:
            webhook["clientConfig"]["service"]["name"] = "istiod-1-7-0"

    dead = edits("remote", "MutatingWebhookConfiguration", "istio-sidecar-injector", elsewhere)
    found = diagnose(Case(also(dead, not_created(message))(sound()))).root_causes
    assert [one.id for one in found] == [*others, causes.WEBHOOK_LEADS_NOWHERE.id]


def test_pods_that_a_remote_does_not_create_follow_from_a_stale_address_of_istiod() -> None:
    def stale(one: Object) -> None:
        one["endpoints"] = [{"addresses": ["192.0.2.1"]}]

    message = 'failed calling webhook "rev.namespace.sidecar-injector.istio.io": context deadline exceeded'
    changed = also(edits("remote", "EndpointSlice", "istiod", stale), not_created(message))
    found = diagnose(Case(changed(sound()))).root_causes
    assert [one.id for one in found] == [causes.ISTIOD_ADDRESS_STALE.id]
