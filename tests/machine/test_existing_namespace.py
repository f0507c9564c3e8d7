"""A user who may not create namespaces runs in a namespace of others, and leaves it object by object as it was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from splithorizon.base.waiting import NotYet, eventually
from tests.machine.conftest import CHECKOUT, Starter
from tests.machine.existing_mesh import ExistingMesh
from tests.machine.limits import HANGS_AFTER

pytestmark = pytest.mark.engine

USER, NAMESPACE = "someone-of-the-payments-team", "payments"
QUOTA = {"pods": "12", "requests.cpu": "4", "limits.cpu": "40", "limits.memory": "20Gi", "count/services": "20"}


def of_the_owner(image: str) -> list[dict[str, object]]:
    """What the namespace holds: limits, a workload with its Service, and rules for all pods of the namespace."""
    labels = {"app": "ledger"}
    resources = {"requests": {"cpu": "10m"}, "limits": {"cpu": "1", "memory": "128Mi"}}
    container = {"name": "ledger", "image": image, "command": ["sleep", "infinity"], "resources": resources}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}
    limits = {"type": "Container", "max": {"cpu": "2", "memory": "2Gi"}, "default": {"cpu": "1", "memory": "512Mi"}}
    found: list[tuple[str, str, dict[str, object]]] = [
        ("v1", "ResourceQuota", {"hard": QUOTA}),
        ("v1", "LimitRange", {"limits": [limits]}),
        ("apps/v1", "Deployment", {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}),
        ("v1", "Service", {"selector": labels, "ports": [{"name": "http", "port": 80}]}),
    ]
    return [_named(api, kind, spec) for api, kind, spec in found]


def rules_of_the_owner(system_namespace: str) -> list[dict[str, object]]:
    """Read by istiod alone: nobody is admitted, and clients see no Service of the namespace."""
    return [
        _named("security.istio.io/v1", "AuthorizationPolicy", {}),
        _named("networking.istio.io/v1", "Sidecar", {"egress": [{"hosts": [f"{system_namespace}/*"]}]}),
    ]


def _named(api: str, kind: str, spec: dict[str, object]) -> dict[str, object]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "ledger", "namespace": NAMESPACE}, "spec": spec}


@pytest.fixture(scope="module")
def owned_namespace(existing_mesh: ExistingMesh) -> Iterator[dict[str, str]]:
    """The namespace in both clusters, and all of their objects once its workload runs and the user has the roles."""
    command = [sys.executable, "-m", "splithorizon.cli", "rbac", "--namespace", NAMESPACE, "--user", USER]
    command += ["--system-namespace", existing_mesh.system_namespace]
    roles = subprocess.run(
        command, cwd=CHECKOUT, check=True, capture_output=True, text=True, timeout=HANGS_AFTER
    ).stdout
    try:
        for context in existing_mesh.contexts:
            create_owned_namespace(existing_mesh, context, roles)
        yield existing_mesh.snapshot()
    finally:
        for context in existing_mesh.contexts:
            existing_mesh.kubectl(context, "delete", "--ignore-not-found", "-f", "-", text=roles)
            existing_mesh.kubectl(context, "delete", "--ignore-not-found", "namespace", NAMESPACE)


def create_owned_namespace(mesh: ExistingMesh, context: str, roles: str) -> None:
    mesh.kubectl(context, "create", "namespace", NAMESPACE)
    mesh.kubectl(context, "label", "namespace", NAMESPACE, "istio.io/rev=canary")
    documents = of_the_owner(curl_image(mesh, context))
    if context == mesh.primary:
        documents += rules_of_the_owner(mesh.system_namespace)
    mesh.kubectl(context, "apply", "-f", "-", text=roles)
    mesh.kubectl(context, "create", "-f", "-", text=yaml.safe_dump_all(documents))
    mesh.kubectl(context, "rollout", "status", "deployment/ledger", "-n", NAMESPACE)


def curl_image(mesh: ExistingMesh, context: str) -> str:
    """An image that the node has; an image whose tag was moved to another has no names there."""
    (node,) = json.loads(mesh.kubectl(context, "get", "nodes", "-o", "json"))["items"]
    names: list[str] = [name for image in node["status"]["images"] for name in image.get("names") or []]
    return next(name for name in names if "/curl" in name and "@" not in name)


@pytest.fixture
def arguments(existing_mesh: ExistingMesh, tmp_path: Path) -> list[str]:
    content = yaml.safe_load(existing_mesh.kubeconfig.read_text())
    for user in content["users"]:
        user["user"]["as"] = USER
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(content))
    return ["--contexts", existing_mesh.named, f"--kubeconfig={tmp_path / 'kubeconfig'}", f"--namespace={NAMESPACE}"]


def test_exactly_the_printed_roles_are_enough_and_the_namespace_is_left_as_it_was(
    start: Starter, existing_mesh: ExistingMesh, owned_namespace: dict[str, str], arguments: list[str]
) -> None:
    run = start("suites/", *arguments)
    assert run.ends() == 0, run.output
    assert run.report["verdict"] == "conformant", run.output
    assert {found["profile"] for found in run.report["behaviours"]} == {"core", "extended", "security"}
    assert not [entry for entry in run.report["not_claimed"] if "may not" in entry["reason"]], run.report
    assert existing_mesh.changed_since(owned_namespace) == set()
    (ledger,) = pods(existing_mesh, "app=ledger")
    assert not ledger["status"]["containerStatuses"][0]["restartCount"]


def test_what_a_killed_run_left_is_removed_by_a_sweep_of_the_namespace(
    start: Starter, existing_mesh: ExistingMesh, owned_namespace: dict[str, str], arguments: list[str]
) -> None:
    run = start("suites/readiness", *arguments)
    run.reaches("every client knows every version")
    run.send(signal.SIGKILL)
    run.ends()
    assert pods(existing_mesh, "app=sleep")
    swept = start("--sweep", *arguments)
    assert swept.ends() == 0, swept.output
    assert f"removed the objects of run {run.run_id} in namespace {NAMESPACE}" in swept.output
    assert existing_mesh.changed_since(owned_namespace) == set()


def test_a_quota_without_room_is_refused_before_anything_is_created(
    start: Starter, existing_mesh: ExistingMesh, owned_namespace: dict[str, str], arguments: list[str]
) -> None:
    set_pods_of_quota(existing_mesh, "3")
    try:
        run = start("suites/readiness", *arguments)
        assert run.ends() == 4, run.output
    finally:
        set_pods_of_quota(existing_mesh, QUOTA["pods"])
    assert "ResourceQuota ledger has 2 of pods left" in run.output
    assert existing_mesh.changed_since(owned_namespace) == set()


def set_pods_of_quota(mesh: ExistingMesh, count: str) -> None:
    patch = json.dumps({"spec": {"hard": {**QUOTA, "pods": count}}})
    mesh.kubectl(mesh.primary, "patch", "resourcequota", "ledger", "-n", NAMESPACE, "--type=merge", "-p", patch)

    def counted() -> None:
        quota = json.loads(mesh.kubectl(mesh.primary, "get", "resourcequota", "ledger", "-n", NAMESPACE, "-o", "json"))
        status = quota["status"]
        if (status["hard"]["pods"], status["used"]["pods"]) != (count, "1"):
            raise NotYet(f"its status: {status}")

    eventually("the quota has counted the pod that is there", counted, within=HANGS_AFTER, every=0.5)


def pods(mesh: ExistingMesh, selector: str) -> list[dict[str, dict[str, list[dict[str, int]]]]]:
    listed = mesh.kubectl(mesh.primary, "get", "pods", "-n", NAMESPACE, "-l", selector, "-o", "json")
    found: list[dict[str, dict[str, list[dict[str, int]]]]] = json.loads(listed)["items"]
    return found
