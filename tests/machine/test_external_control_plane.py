"""A mesh whose istiod runs in a cluster of no workloads: judged with and without that cluster, and left as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.engine import Engine
from tests.machine.conftest import Starter, require_conformant, unused
from tests.machine.existing_mesh import ExistingMesh, Shape, installed

pytestmark = [pytest.mark.engine, pytest.mark.long]


@pytest.fixture(scope="module")
def mesh(podman: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExistingMesh]:
    shape, folder = Shape(external=True), tmp_path_factory.mktemp("external")
    with installed(podman, unused("external"), shape, folder) as made:
        yield made


def test_an_external_istiod_that_is_named_is_asked_and_nothing_is_changed(
    start: Starter, mesh: ExistingMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(mesh.kubeconfig))
    outside, before = mesh.contexts[-1], mesh.snapshot()

    run = start("suites/", "--contexts", mesh.named, "--istiod-context", outside)

    assert run.ends() == 0, run.output
    require_conformant(run.report, run.output)
    assert f"which runs in the cluster of context {outside} and reads its rules here" in run.output
    judged = {one["behaviour"] for one in run.report["behaviours"]}
    assert {"test_every_cluster_is_watched", "test_every_proxy_is_synced", "test_control_plane_is_ready"} <= judged
    assert mesh.changed_since(before) == set()


def test_an_external_istiod_that_is_not_named_leaves_out_what_only_it_says(
    start: Starter, mesh: ExistingMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(mesh.kubeconfig))
    before = mesh.snapshot()

    run = start("suites/", "--contexts", mesh.named, "--profile", "core")

    assert run.ends() == 0, run.output
    require_conformant(run.report, run.output)
    reasons = {one["behaviour"]: one["reason"] for one in run.report["not_claimed"]}
    assert "--istiod-context" in reasons["test_every_cluster_is_watched"]
    assert "test_both_versions_answer" not in reasons
    assert mesh.changed_since(before) == set()
