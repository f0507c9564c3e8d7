"""What of a cluster is compared before and after, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube.client import Kube
from splithorizon.mesh import snapshot
from tests.support.small_api import SmallApi

POD = {"kind": "Pod", "name": "pods", "verbs": ["list"]}
ROLE = {"kind": "ClusterRole", "name": "clusterroles", "verbs": ["get", "list"]}
REVIEW = {"kind": "SelfSubjectReview", "name": "selfsubjectreviews", "verbs": ["create"]}
LEASE = {"kind": "Lease", "name": "leases", "verbs": ["list"]}
NODE: dict[str, Any] = {
    "metadata": {"name": "n"},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}


def named(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **more}}


@pytest.fixture
def api(api: SmallApi) -> SmallApi:
    api.objects |= {
        "/apis": {"groups": [{"preferredVersion": {"groupVersion": "rbac/v1"}}]},
        "/api/v1": {"resources": [POD, LEASE, REVIEW]},
        "/apis/rbac/v1": {"resources": [ROLE]},
        "/api/v1/nodes": {"items": [NODE]},
    }
    hold(api, pods=[named("own", namespace="a")], roles=[named("reader")])
    return api


def hold(api: SmallApi, *, pods: list[dict[str, Any]], roles: list[dict[str, Any]]) -> None:
    api.objects["/api/v1/pods"] = {"items": pods}
    api.objects["/apis/rbac/v1/clusterroles"] = {"items": roles}


def test_every_object_that_can_be_listed_is_named(kube: Kube) -> None:
    assert set(snapshot.take(kube)) == {"Pod a/own", "ClusterRole reader"}


def test_what_a_controller_makes_of_another_object_is_not_compared(api: SmallApi, kube: Kube) -> None:
    made = named("own-1", namespace="a", ownerReferences=[{"kind": "ReplicaSet", "controller": True}])
    kept = named("own-2", namespace="a", ownerReferences=[{"kind": "Node"}])
    hold(api, pods=[made, kept], roles=[])
    assert set(snapshot.take(kube)) == {"Pod a/own-2"}


@pytest.mark.parametrize(
    "same",
    [
        {**named("reader", resourceVersion="7", managedFields=[{}], uid="u"), "status": {"seen": 1}},
        named("reader", annotations={"control-plane.alpha.kubernetes.io/leader": "renewed"}),
    ],
    ids=["kept by the server", "leadership"],
)
def test_what_nobody_asked_for_is_no_difference(api: SmallApi, kube: Kube, same: dict[str, Any]) -> None:
    before = snapshot.take(kube)
    hold(api, pods=[named("own", namespace="a")], roles=[same])
    assert snapshot.differences(before, snapshot.take(kube)) == []


def test_what_is_left_gone_or_changed_is_named(api: SmallApi, kube: Kube) -> None:
    before = snapshot.take(kube)
    hold(api, pods=[], roles=[{**named("reader"), "rules": []}, named("another")])
    assert snapshot.differences(before, snapshot.take(kube)) == [
        "left: ClusterRole another",
        "gone: Pod a/own",
        "changed: ClusterRole reader",
    ]


def test_a_bare_cluster_is_looked_at_once_it_rests(api: SmallApi, kube: Kube) -> None:
    found = snapshot.before_install(kube, within=5)
    assert snapshot.differences(found, snapshot.take(kube)) == []
    looks = [path for _, path, *_ in api.asked if path == "/api/v1/pods"]
    assert len(looks) == 3


def test_a_node_that_is_not_ready_is_waited_for_and_named(api: SmallApi, kube: Kube) -> None:
    api.objects["/api/v1/nodes"] = {"items": [{"metadata": {"name": "n"}, "status": {}}]}
    with pytest.raises(EnvironmentBroke, match="n is not ready"):
        snapshot.before_install(kube, within=1)


def test_a_snapshot_survives_json(kube: Kube) -> None:
    found = snapshot.take(kube)
    assert snapshot.differences(json.loads(json.dumps(found)), found) == []
