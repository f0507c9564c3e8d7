"""In a namespace of others a run's objects select its own pods, collide with nothing and go one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube.client import Kube, NotAdmitted
from splithorizon.undo import mutations, ownership, shared_namespace
from splithorizon.undo.ownership import Scope
from tests.support.small_api import Failure, SmallApi, small_api

LABELS = ownership.labels("run-1")
RUN = {ownership.RUN: "run-1"}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "helloworld"}, "spec": {"selector": {"a": "b"}}}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[SmallApi]:
    with small_api(tmp_path / "kubeconfig") as server:
        server.versioned = True
        yield server


@pytest.fixture
def kube(tmp_path: Path, api: SmallApi) -> Kube:
    assert api.url
    return Kube(tmp_path / "kubeconfig", "primary", kubectl="kubectl --context x")


def rule(kind: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "x/v1", "kind": kind, "metadata": {"name": "ours", "labels": {"app": "sleep"}}, "spec": spec}


@pytest.mark.parametrize(
    ("kind", "spec", "added"),
    [
        ("Service", {"selector": {"app": "sleep"}}, {"selector": {"app": "sleep", **RUN}}),
        ("Telemetry", {}, {"selector": {"matchLabels": RUN}}),
        (
            "AuthorizationPolicy",
            {"selector": {"matchLabels": {"app": "helloworld"}}},
            {"selector": {"matchLabels": {"app": "helloworld", **RUN}}},
        ),
        ("EnvoyFilter", {}, {"workloadSelector": {"labels": RUN}}),
        ("Sidecar", {}, {"workloadSelector": {"labels": RUN}}),
        ("DestinationRule", {"host": "*.ns.svc.cluster.local"}, {"workloadSelector": {"matchLabels": RUN}}),
        ("DestinationRule", {"host": "helloworld"}, {}),
        ("VirtualService", {"hosts": ["helloworld"]}, {}),
        ("ServiceAccount", {}, {}),
    ],
)
def test_what_selects_pods_selects_those_of_the_run(kind: str, spec: dict[str, Any], added: dict[str, Any]) -> None:
    found = shared_namespace.owned(rule(kind, **spec), LABELS)
    assert found["metadata"]["labels"] == {"app": "sleep", **LABELS}
    assert found["spec"] == {**spec, **added}


def test_pods_of_a_deployment_have_the_labels_and_it_selects_no_others() -> None:
    template = {"metadata": {"labels": {"app": "sleep"}}, "spec": {}}
    found = shared_namespace.owned(rule("Deployment", selector={"matchLabels": {"app": "sleep"}}, template=template),
                                   LABELS)  # fmt: skip
    assert found["spec"]["selector"]["matchLabels"] == {"app": "sleep", **RUN}
    assert found["spec"]["template"]["metadata"]["labels"] == {"app": "sleep", **LABELS}


def test_what_this_run_has_created_already_stays_and_what_is_anothers_is_not_changed(api: SmallApi, kube: Kube) -> None:
    document = shared_namespace.owned(SERVICE, LABELS)
    for _ in range(2):
        shared_namespace.create(kube, [document], "payments")
    (kept,) = api.kept("Service")
    assert kept["metadata"]["labels"] == LABELS

    kept["metadata"]["labels"] = {"app": "theirs"}
    before = dict(kept)
    with pytest.raises(EnvironmentBroke, match="created by somebody else meanwhile"):
        shared_namespace.create(kube, [document], "payments")
    assert api.kept("Service") == [before]


def test_a_webhook_that_does_not_answer_may_answer_later(api: SmallApi, kube: Kube) -> None:
    api.failures.append(Failure(1, "POST", "services", 503))
    with pytest.raises(NotAdmitted):
        shared_namespace.create(kube, [shared_namespace.owned(SERVICE, LABELS)], "payments")
    shared_namespace.create(kube, [shared_namespace.owned(SERVICE, LABELS)], "payments")
    assert api.kept("Service")


def test_objects_go_one_by_one_and_nothing_else_does(api: SmallApi, kube: Kube) -> None:
    other = ownership.labels("run-2")
    for kind in shared_namespace.KINDS:
        api.put(kind, "ours", "payments", labels=LABELS)
        api.put(kind, "theirs", "payments", labels={"app": "helloworld"})
        api.put(kind, "another-run", "payments", labels=other)
        api.put(kind, "ours", "elsewhere", labels=LABELS)
    shared_namespace.remove(kube, "payments", "run-1", gone_within=60)
    left = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in api.objects.values()}
    assert left == {("payments", "theirs"), ("payments", "another-run"), ("elsewhere", "ours")}
    assert len(api.kept("Deployment")) == 3
    assert [*shared_namespace.runs_in(kube, "payments")] == ["run-2"]


def test_pods_of_a_deployment_are_waited_for_and_not_deleted(api: SmallApi, kube: Kube) -> None:
    pod = api.put("Pod", "sleep-1", "payments", labels=LABELS)
    pod["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "sleep"}]
    with pytest.raises(EnvironmentBroke, match="Pod sleep-1"):
        shared_namespace.remove(kube, "payments", "run-1", gone_within=0.01)
    assert api.requests("DELETE") == []


def test_slices_that_a_controller_removes_are_waited_for(api: SmallApi, kube: Kube) -> None:
    api.put("EndpointSlice", "helloworld-abc", "payments", labels=LABELS)
    with pytest.raises(EnvironmentBroke, match="EndpointSlice helloworld-abc"):
        shared_namespace.remove(kube, "payments", "run-1", gone_within=0.01)
    assert api.requests("DELETE") == []
    api.denies = lambda one: one["resource"] == "endpointslices"
    shared_namespace.remove(kube, "payments", "run-1", gone_within=60)


def test_a_change_of_a_check_is_labelled_narrowed_and_undone(api: SmallApi, kube: Kube, tmp_path: Path) -> None:
    Scope("run-1", False, "payments", labels=LABELS).write(tmp_path)
    policy = {
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "admitted"},
        "spec": {"action": "ALLOW"},
    }  # fmt: skip
    with ExitStack() as undo:
        mutations.apply(kube, [policy], "payments", undo)
        (kept,) = api.kept("AuthorizationPolicy")
        assert kept["metadata"]["labels"] == LABELS
        assert kept["spec"] == {"action": "ALLOW", "selector": {"matchLabels": RUN}}
    assert api.kept("AuthorizationPolicy") == []


def test_the_command_names_one_run_alone(kube: Kube) -> None:
    command = shared_namespace.removal_command(kube, "payments", "run-1", ("Deployment", "Service"))
    assert command == (
        "kubectl --context x delete deployment,service --namespace payments --selector splithorizon.io/run=run-1"
    )
