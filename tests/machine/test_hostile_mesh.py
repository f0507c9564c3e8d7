"""A mesh with the rules, limits and settings that companies have: judged right, and left as it was."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lab.engine import Engine
from splithorizon.base.waiting import NotYet, eventually
from tests.machine.conftest import Starter, unused
from tests.machine.existing_mesh import ExistingMesh, Shape, installed
from tests.machine.limits import HANGS_AFTER

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def hostile_mesh(podman: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExistingMesh]:
    """All that hostile_mesh.sh adds, in a system namespace and with a revision of its own."""
    shape = Shape(revision="canary", system_namespace="mesh-system", hostile=True)
    with installed(podman, unused("hostile"), shape, tmp_path_factory.mktemp("hostile-mesh")) as mesh:
        yield mesh


LIMITED = {"limits": {"cpu": "1", "memory": "64Mi"}}
RESTRICTED = {"runAsNonRoot": True, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}}
UNPRIVILEGED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def admitted(mesh: ExistingMesh, context: str, resources: object, security: object) -> dict[str, Any]:
    """A pod with a sidecar as the API server would store it; raises CalledProcessError where it is refused."""
    container = {"name": "plain", "image": "x", "resources": resources, "securityContext": UNPRIVILEGED}
    metadata = {"name": "plain", "labels": {"istio.io/rev": "canary", "sidecar.istio.io/inject": "true"}}
    spec = {"containers": [container], "securityContext": security}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    text = mesh.kubectl(context, "create", "--dry-run=server", "-o", "json", "-f", "-", text=json.dumps(pod))
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_hostile_mesh_refuses_pods_without_restrictions_or_limits_and_its_sidecars_need_no_rights(
    hostile_mesh: ExistingMesh,
) -> None:
    refused: tuple[tuple[object, object, str], ...] = (
        (LIMITED, {}, "violates PodSecurity"),
        ({}, RESTRICTED, "each container needs limits"),
    )
    for context in hostile_mesh.contexts:
        for resources, security, why in refused:
            with pytest.raises(subprocess.CalledProcessError) as raised:
                admitted(hostile_mesh, context, resources, security)
            assert why in raised.value.stderr
        first = admitted(hostile_mesh, context, LIMITED, RESTRICTED)["spec"]["initContainers"][0]
        assert first["name"] == "istio-validation", "Istio's CNI plug-in redirects the pod"
        assert first["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_hostile_mesh_is_conformant_and_left_as_it_was(
    start: Starter, hostile_mesh: ExistingMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hostile_mesh.snapshot()
    monkeypatch.setenv("KUBECONFIG", str(hostile_mesh.kubeconfig))

    run = start("suites/", "--contexts", hostile_mesh.named, "--namespace-label", "istio-discovery=enabled")

    assert run.ends() == 0, run.output
    assert run.report["verdict"] == "conformant", run.output
    assert {found["verdict"] for found in run.report["behaviours"]} == {"conformant"}
    assert hostile_mesh.changed_since(before) == set()


NAMESPACE = "payments"
WATCHED = "istio-discovery=enabled"
OF_ISTIOD = "configmap/istio-ca-root-cert"
QUOTA = {"pods": "12", "requests.cpu": "4", "limits.cpu": "40", "limits.memory": "20Gi", "count/services": "20"}
DEFAULTS = {"type": "Container", "default": {"cpu": "1", "memory": "512Mi"}}


@pytest.fixture
def namespace_with_limits(hostile_mesh: ExistingMesh) -> Iterator[ExistingMesh]:
    """A namespace with a ResourceQuota and a LimitRange in both clusters, which istiod watches in the primary only."""
    limits = [_named("ResourceQuota", {"hard": QUOTA}), _named("LimitRange", {"limits": [DEFAULTS]})]
    try:
        for context in hostile_mesh.contexts:
            labels = ["istio.io/rev=canary", *([WATCHED] if context == hostile_mesh.primary else [])]
            hostile_mesh.kubectl(context, "create", "namespace", NAMESPACE)
            hostile_mesh.kubectl(context, "label", "namespace", NAMESPACE, *labels)
            hostile_mesh.kubectl(context, "create", "-f", "-", text=yaml.safe_dump_all(limits))
            await_written(hostile_mesh, context, "serviceaccount/default", "configmap/kube-root-ca.crt")
        await_written(hostile_mesh, hostile_mesh.primary, OF_ISTIOD)
        yield hostile_mesh
    finally:
        for context in hostile_mesh.contexts:
            hostile_mesh.kubectl(context, "delete", "--ignore-not-found", "namespace", NAMESPACE)


def await_written(mesh: ExistingMesh, context: str, *written: str) -> None:
    """Wait for what controllers write into a new namespace: a snapshot of before would lack it."""

    def look() -> None:
        found = mesh.kubectl(context, "get", *written, "-n", NAMESPACE, "--ignore-not-found", "-o", "name").split()
        if len(found) < len(written):
            raise NotYet(f"there are {', '.join(found) or 'none'}")

    eventually(f"{', '.join(written)} are in {context}", look, within=HANGS_AFTER)


def _named(kind: str, spec: dict[str, object]) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "few", "namespace": NAMESPACE}, "spec": spec}


def test_a_namespace_with_limits_does_once_istiod_watches_it_in_every_cluster(
    start: Starter, namespace_with_limits: ExistingMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = namespace_with_limits
    monkeypatch.setenv("KUBECONFIG", str(mesh.kubeconfig))
    arguments = ("--contexts", mesh.named, f"--namespace={NAMESPACE}", "--profile=core")
    before = mesh.snapshot()

    run = start("suites/", *arguments)
    assert run.ends() == 4, run.output
    assert f"istiod does not watch namespace {NAMESPACE} in remote: its owner has to label it {WATCHED}" in run.output
    assert mesh.changed_since(before) == set()

    mesh.kubectl(mesh.remote, "label", "namespace", NAMESPACE, WATCHED)
    await_written(mesh, mesh.remote, OF_ISTIOD)
    before = mesh.snapshot()
    run = start("suites/", *arguments)
    assert run.ends() == 0, run.output
    assert run.report["verdict"] == "conformant", run.output
    assert mesh.changed_since(before) == set()
