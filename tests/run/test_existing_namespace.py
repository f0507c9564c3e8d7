"""``--namespace``: what a namespace of others must be like, and that a run changes nothing in it but its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.istio.names import SYSTEM_NAMESPACE
from splithorizon.run import existing_namespace, plan
from splithorizon.run.existing_mesh import explore, look, prepare
from splithorizon.run.journal import Journal
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.undo import ownership
from splithorizon.undo.ownership import Scope
from tests.support import user_rights
from tests.support.existing_mesh import TwoClusters, installed_mesh
from tests.support.small_api import Failure, SmallApi

NAMESPACE = "payments"
RUN_ID = "20261127-031200-AB12"
SELECTOR = {"matchLabels": {"istio-injection": "enabled"}}
QUOTA = {"pods": "20", "requests.cpu": "4", "count/services": "20"}


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[TwoClusters]:
    """A mesh with a namespace of somebody else in both clusters, and in it a workload that runs."""
    with installed_mesh(tmp_path) as clusters:
        for api in clusters.apis.values():
            for webhook in api.kept("MutatingWebhookConfiguration")[0]["webhooks"]:
                webhook["namespaceSelector"] = SELECTOR
            api.put("Namespace", NAMESPACE, labels={"istio-injection": "enabled"})
            labels = {"app": "ledger"}
            template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "ledger", "image": "x"}]}}
            api.put("Deployment", "ledger", NAMESPACE, labels=labels, spec={"replicas": 1, "template": template})
            api.put("Service", "ledger", NAMESPACE, labels=labels, spec={"selector": labels, "ports": []})
            api.put("Telemetry", "theirs", NAMESPACE, spec={})
            for controller in api.controllers:
                controller()
            api.asked.clear()
        yield clusters


class Run:
    """A run in that namespace, to the end of its set-up."""

    def __init__(self, mesh: TwoClusters, folder: Path, **more: Any) -> None:
        files: dict[str, Any] = {f"kubeconfig_{role}": mesh.file(role) for role in mesh.apis}
        self.options = Options(contexts=("east", "west"), **files, **{"namespace": NAMESPACE, **more})
        folder.mkdir(exist_ok=True)
        self.journal = Journal.open(RUN_ID, folder)
        self.progress = Progress(lambda _: None)
        self.undo = ExitStack()

    def refused(self) -> str:
        with pytest.raises(UsageProblem) as problem:
            self.look()
        return str(problem.value)

    def look(self) -> Any:
        explored = explore(self.options, self.journal.folder, self.progress, run_id=RUN_ID)
        return look(explored, self.options, self.progress, run_id=RUN_ID)

    def set_up(self) -> None:
        explored = explore(self.options, self.journal.folder, self.progress, run_id=RUN_ID)
        prepare(explored, self.options, self.journal, self.undo, self.progress, leftover=lambda _: None)


def put_pod(api: SmallApi, name: str, **labels: str) -> None:
    api.put("Pod", name, NAMESPACE, labels=labels, spec={"containers": []}, status={})


def kept(mesh: TwoClusters) -> dict[str, dict[str, str]]:
    """All that both clusters hold, but for the status that controllers write."""
    return {
        role: {path: json.dumps({**one, "status": None}, sort_keys=True) for path, one in api.objects.items()}
        for role, api in mesh.apis.items()
    }


def writes(mesh: TwoClusters) -> list[tuple[str, str]]:
    return [
        (method, path)
        for api in mesh.apis.values()
        for method, path, query, *_ in api.asked
        if method != "GET" and "dryRun" not in query
    ]


def test_a_run_labels_what_it_creates_and_leaves_the_namespace_as_it_was(mesh: TwoClusters, tmp_path: Path) -> None:
    before = kept(mesh)
    for api in mesh.apis.values():
        api.denies = user_rights.denies(system_namespace=SYSTEM_NAMESPACE, namespace=NAMESPACE)
    run = Run(mesh, tmp_path)
    run.set_up()
    for role, api in mesh.apis.items():
        assert {path: before[role].get(path) for path in before[role]}.items() <= kept(mesh)[role].items()
        added = [one for path, one in api.objects.items() if path not in before[role]]
        assert {one["metadata"]["namespace"] for one in added} == {NAMESPACE}
        assert {one["metadata"]["labels"][ownership.RUN] for one in added} == {RUN_ID}
        assert all(ownership.EXPIRES in one["metadata"]["labels"] for one in added)
        assert not [path for method, path in writes(mesh) if path.endswith(f"namespaces/{NAMESPACE}")]
    (telemetry,) = [one for one in mesh.primary.kept("Telemetry") if one["metadata"]["name"] == "access-log"]
    assert telemetry["spec"]["selector"] == {"matchLabels": {ownership.RUN: RUN_ID}}
    run.undo.close()
    assert kept(mesh) == before


def test_the_namespaces_labels_are_read_once_in_each_cluster(mesh: TwoClusters, tmp_path: Path) -> None:
    Run(mesh, tmp_path).look()
    for api in mesh.apis.values():
        reads = [path for method, path, *_ in api.asked if method == "GET"]
        assert reads.count(f"/api/v1/namespaces/{NAMESPACE}") == 1


def test_the_removal_is_written_down_before_the_first_object(mesh: TwoClusters, tmp_path: Path) -> None:
    run = Run(mesh, tmp_path)
    before = kept(mesh)
    # Every dry run is answered, and no creation.
    mesh.primary.failures.append(Failure(100, "POST", "services", 403))
    with pytest.raises(EnvironmentBroke):
        run.set_up()
    assert kept(mesh) != before, "the other cluster has objects of the run"
    assert [(one.kind, one.name) for one in run.journal.entries] == [("objects", NAMESPACE)] * 2
    scope = Scope.read(run.journal.folder)
    assert scope
    assert scope.labels[ownership.RUN] == RUN_ID
    assert f"--namespace={NAMESPACE}" in scope.removal_command
    run.undo.close()
    assert kept(mesh) == before


@pytest.mark.parametrize("role", ["primary", "remote"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda api: api.objects.pop(f"/api/v1/namespaces/{NAMESPACE}"), "there is no such namespace"),
        (
            lambda api: api.put("Namespace", NAMESPACE),
            "no istiod injects sidecars, and the run is about revision default: let the namespace's owner label it "
            "istio-injection=enabled or istio.io/rev=default",
        ),
        (lambda api: api.put("Service", "helloworld", NAMESPACE), "Service helloworld is there and is not the run's"),
        (lambda api: put_pod(api, "plain-text-client"), "Pod plain-text-client is there"),
        (
            lambda api: api.put("Service", "sleep", NAMESPACE, labels=ownership.labels("run-2")),
            "Service sleep is there, of run run-2",
        ),
        (
            lambda api: api.put("Service", "all", NAMESPACE, spec={"selector": {"app": "helloworld"}}),
            "Service all selects pods of the run",
        ),
        (lambda api: put_pod(api, "theirs", app="sleep"), "has the label app=sleep"),
        (
            lambda api: api.put(
                "ResourceQuota", "few", NAMESPACE, status={"hard": {"pods": "4"}, "used": {"pods": "1"}}
            ),
            "ResourceQuota few has 3 of pods left, and the run needs 6 at once",
        ),
    ],
)
def test_a_namespace_that_does_not_do_is_refused_before_anything_is_created(
    mesh: TwoClusters, tmp_path: Path, role: str, change: Any, says: str
) -> None:
    change(mesh.apis[role])
    context = {"primary": "east", "remote": "west"}[role]
    refused = Run(mesh, tmp_path).refused()
    assert refused.startswith(f"--namespace {NAMESPACE}, context {context}: ")
    assert says in refused
    assert refused.endswith("Nothing was created.")
    assert writes(mesh) == []


def test_what_admission_refuses_is_said_in_the_servers_own_sentence(mesh: TwoClusters, tmp_path: Path) -> None:
    sentence = b'{"message": "pods is forbidden: maximum cpu usage per Container is 500m, but limit is 1"}'
    mesh.remote.answers[f"/api/v1/namespaces/{NAMESPACE}/pods/splithorizon-dry-run"] = (403, sentence)
    refused = Run(mesh, tmp_path).refused()
    assert "context west: the API server refuses a pod of the run in a dry run: pods is forbidden: maximum" in refused
    assert writes(mesh) == []


def test_a_pod_that_would_get_no_sidecar_is_refused(mesh: TwoClusters, tmp_path: Path) -> None:
    mesh.primary.admit = lambda _: None
    assert "a dry run of a pod got no sidecar" in Run(mesh, tmp_path).refused()


def test_a_pull_secret_is_of_that_namespace_and_not_copied(mesh: TwoClusters, tmp_path: Path) -> None:
    for api in mesh.apis.values():
        api.put("Secret", "registry", NAMESPACE, type="kubernetes.io/dockerconfigjson", data={})
    assert "none is copied" in Run(mesh, tmp_path / "a", pull_secret="images/registry").refused()
    run = Run(mesh, tmp_path / "b", pull_secret=f"{NAMESPACE}/registry")
    run.set_up()
    sleep = next(one for one in mesh.primary.kept("Deployment", NAMESPACE) if one["metadata"]["name"] == "sleep")
    assert sleep["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert not [path for _, path in writes(mesh) if "secrets" in path]
    run.undo.close()


def test_a_dry_run_says_what_would_be_created_and_removed(mesh: TwoClusters, tmp_path: Path) -> None:
    run = Run(mesh, tmp_path)
    lines = plan.lines(run.look(), run.options, {"test_both_versions_answer": 2}, {})
    for context in ("east", "west"):
        (line,) = [
            one for one in lines if one.startswith(f"would create in {context}: namespace {NAMESPACE}, which is")
        ]
        assert line.endswith("deleted one by one at the end")
    assert "would change nothing in that namespace that is not the run's" in lines
    assert writes(mesh) == []


def test_the_named_image_of_the_sender_is_that_of_every_cluster(mesh: TwoClusters, tmp_path: Path) -> None:
    run = Run(mesh, tmp_path, image=("sender=mine/sender:2",))
    assert {one.sender_image for one in run.look().info.clusters.values()} == {"mine/sender:2"}


def test_a_quota_counts_pods_as_they_are_admitted_and_four_more_of_the_largest() -> None:
    sidecar = {"name": "istio-proxy", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}}
    first = {"name": "init", "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "1Gi"}}}
    container = {"name": "sleep", "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "256Mi"}}}
    small = {"spec": {"containers": [container]}}
    large = {"spec": {"containers": [container], "initContainers": [first, sidecar]}}
    documents = [{"kind": "Deployment"}, {"kind": "Deployment"}, {"kind": "Service"}]
    found = existing_namespace.needs(documents, [small, large])
    assert found["pods"] == 6
    assert found["count/deployments.apps"] == 2
    assert found["services"] == 1
    assert found["requests.cpu"] == Decimal("0.01") + 5 * 2
    assert found["limits.memory"] == 256 * 2**20 + 5 * 2**30
