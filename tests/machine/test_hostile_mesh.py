"""A mesh with the rules, limits and settings that companies have: judged right, and left as it was."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from lab.engine import Engine
from tests.machine.conftest import Starter, unused
from tests.machine.existing_mesh import ExistingMesh, Shape, installed

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


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

    assert run.ends(within=480) == 0, run.output
    assert run.report["verdict"] == "conformant", run.output
    assert {found["verdict"] for found in run.report["behaviours"]} == {"conformant"}
    assert hostile_mesh.changed_since(before) == set()
