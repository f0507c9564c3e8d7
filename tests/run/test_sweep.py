"""What ended runs left is told without lab/: nothing is removed but records of nothing."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest

from splithorizon.run.journal import Journal
from splithorizon.run.sweep import report_remains
from splithorizon.undo.ownership import Scope, ScopeCluster
from tests.support import killed_run

killed = partial(killed_run.killed, cluster="primary")


def on_existing_mesh(folder: Path) -> Path:
    """Let a run be one on an existing mesh."""
    clusters = {
        role: ScopeCluster(context=context, uid=role, system_namespace="istio-system", kubectl="kubectl")
        for role, context in (("primary", "east"), ("remote", "west"))
    }
    Scope(folder.name, False, f"splithorizon-{folder.name}", clusters).write(folder)
    return folder


def test_what_a_dead_run_left_in_a_mesh_is_named_with_the_command(tmp_path: Path) -> None:
    folder = on_existing_mesh(killed(tmp_path, "run-1", "namespace=splithorizon-run-1"))
    said, command = report_remains(tmp_path)
    assert "run run-1 left in an existing mesh: namespace splithorizon-run-1 of the primary" in said
    assert command == "restore it with: pytest --sweep --contexts east,west"
    assert folder.exists()


def test_the_record_of_a_dead_run_that_left_nothing_goes(tmp_path: Path) -> None:
    folder = on_existing_mesh(killed(tmp_path, "run-1"))
    assert list(report_remains(tmp_path)) == [f"removed run folder {folder}"]
    assert list(tmp_path.iterdir()) == []


def test_a_dead_run_with_clusters_of_its_own_is_named_and_stays(tmp_path: Path) -> None:
    folder = killed(tmp_path, "run-1", "cluster=lab-primary", "network=kind")
    assert list(report_remains(tmp_path)) == [
        "run run-1 made cluster lab-primary, network kind: remove it with `pytest --sweep` in a checkout"
    ]
    assert (folder / "run.json").exists()


def test_living_and_kept_runs_are_not_named(tmp_path: Path) -> None:
    Journal.open("alive", tmp_path).will_create("cluster", "alive-primary")
    kept = killed(tmp_path, "kept", "cluster=kept-primary")
    Journal.read(kept).keep()
    assert list(report_remains(tmp_path)) == []
    assert kept.exists()


@pytest.mark.parametrize("half", ["", "{", '{"run": "half"}'])
def test_a_record_that_is_half_written_is_named_and_stays(tmp_path: Path, half: str) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "run.json").write_text(half)
    (said,) = report_remains(tmp_path)
    assert said.startswith(f"{broken / 'run.json'} cannot be read, and its folder stays")
    assert (broken / "run.json").read_text() == half


def test_the_folder_of_a_run_that_never_began_goes(tmp_path: Path) -> None:
    (tmp_path / "stillborn").mkdir()
    before = time.time() - 90
    os.utime(tmp_path / "stillborn", (before, before))
    assert list(report_remains(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []
