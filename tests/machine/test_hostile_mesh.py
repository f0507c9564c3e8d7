"""A mesh with the rules, limits and settings that companies have: judged right, and left as it was."""

from __future__ import annotations

from collections.abc import Iterator

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
