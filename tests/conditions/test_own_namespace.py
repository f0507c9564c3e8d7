"""What a namespace of others has beside: each condition leads to its one consequence, and none without --namespace."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from splithorizon.conditions import own_namespace
from splithorizon.conditions.condition import Effect
from splithorizon.conditions.decide import Decision, decide
from splithorizon.conditions.reading import ClusterConditions, MeshConditions
from splithorizon.conditions.traffic import EVENLY
from splithorizon.undo import ownership

NAMESPACE = "payments"
OBJECT_LABELS = ownership.labels("run-1")
CLOSED: dict[str, Any] = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
OURS = {"matchLabels": {ownership.MANAGED_BY: ownership.MANAGER}}
OPEN: dict[str, Any] = {"podSelector": OURS, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}


def made(kind: str, name: str = "theirs", namespace: str = NAMESPACE, **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


LABELS = {"team": "payments"}


def mesh(*objects: dict[str, Any], **configuration: Any) -> MeshConditions:
    kinds = {one["kind"]: tuple(other for other in objects if other["kind"] == one["kind"]) for one in objects}
    plane = ClusterConditions("primary", version="1.29.1", objects=kinds, mesh=configuration)
    return MeshConditions((plane, ClusterConditions("remote", runs_istiod=False)), NAMESPACE,
                          {"primary": LABELS, "remote": LABELS}, OBJECT_LABELS)  # fmt: skip


def effects(decision: Decision) -> list[Effect]:
    return [one.effect for one in decision.conditions]


@pytest.mark.parametrize(
    ("found", "effect", "says"),
    [
        (made("NetworkPolicy", podSelector={"matchLabels": {"app": "ledger"}}), [], ""),
        (made("NetworkPolicy", **CLOSED), [Effect.REFUSED] * 2, "policyTypes Ingress"),
        (made("NetworkPolicy", podSelector={}, ingress=[{"ports": []}]), [Effect.REFUSED], "admits some ingress only"),
        (made("PeerAuthentication", mtls={"mode": "STRICT"}), [], ""),
        (made("PeerAuthentication", mtls={"mode": "DISABLE"}), [Effect.REFUSED], "mtls DISABLE"),
        (made("PeerAuthentication", mtls={"mode": "PERMISSIVE"}), [Effect.NOT_CLAIMED], "admits plain text"),
        (made("PeerAuthentication", mtls={"mode": "DISABLE"}, selector={"matchLabels": {"app": "ledger"}}), [], ""),
        (made("Sidecar", egress=[{"hosts": ["istio-system/*"]}]), [Effect.NEUTRALISED], own_namespace.EGRESS),
        (made("Sidecar", workloadSelector={"labels": {"app": "ledger"}}), [], ""),
        (made("Sidecar", workloadSelector={"labels": {"app": "sleep"}}), [Effect.REFUSED], "takes one"),
        (made("VirtualService", hosts=["ledger"]), [], ""),
        (made("VirtualService", hosts=["*"], gateways=["payments/public"]), [], ""),
        (made("VirtualService", hosts=["*"]), [Effect.REFUSED], "would follow that rule"),
        (made("DestinationRule", host="helloworld"), [Effect.REFUSED], "DestinationRule primary/payments/theirs"),
        (
            made("DestinationRule", host=f"*.{NAMESPACE}.svc.cluster.local",
                 trafficPolicy={"outlierDetection": {"interval": "1s"}}),
            [Effect.NEUTRALISED], EVENLY,
        ),
        (made("AuthorizationPolicy"), [Effect.NEUTRALISED], "splithorizon-admitted"),
        (
            {**made("ResourceQuota"), "status": {"hard": {"pods": "9"}, "used": {"pods": "2"}}},
            [Effect.CONSIDERED], "2 of 9 pods",
        ),
    ],
    ids=lambda value: f"{value['kind']} {value['spec']}" if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_condition_of_the_namespace_has_its_one_consequence(
    found: dict[str, Any], effect: list[Effect], says: str
) -> None:
    decision = decide(mesh(found))
    assert effects(decision) == effect
    assert says in " ".join(map(str, decision.conditions))
    # The rule of the namespace has no such meaning where the run makes its own one.
    own = replace(mesh(found), object_labels={}, namespace="splithorizon-run")
    assert effects(decide(own)) == []


def test_a_network_policy_that_admits_all_to_our_pods_opens_them() -> None:
    decision = decide(mesh(made("NetworkPolicy", **CLOSED), made("NetworkPolicy", "for-us", **OPEN)))
    assert effects(decision) == [Effect.CONSIDERED] * 2


def test_a_namespace_that_istiod_does_not_watch_is_not_labelled_but_refused() -> None:
    decision = decide(mesh(discoverySelectors=[{"matchLabels": {"istio": "watched"}}]))
    assert effects(decision) == [Effect.REFUSED]
    assert "in primary and remote: its owner has to label it istio=watched" in str(decision.conditions[0])
    assert decision.namespace_labels == {}
    assert effects(decide(mesh(discoverySelectors=[{"matchLabels": LABELS}]))) == [Effect.CONSIDERED]


def test_the_namespace_of_each_cluster_has_to_be_watched() -> None:
    watched = mesh(discoverySelectors=[{"matchLabels": LABELS}])
    (condition,) = decide(replace(watched, labels={"primary": LABELS, "remote": {}})).conditions
    assert condition.effect is Effect.REFUSED
    assert "does not watch namespace payments in remote: its owner has to label it team=payments" in str(condition)
