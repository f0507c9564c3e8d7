"""The first behaviours that fail are collected, each once, and their folders have names that every system takes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from splithorizon.run.diagnostics import failures
from splithorizon.run.diagnostics.failures import of_failure, of_run
from tests.support.mesh_info import mesh_info
from tests.support.small_api import write_kubeconfig

SINCE = datetime(2026, 11, 27, 6, 0, tzinfo=UTC)


@pytest.fixture
def absent(tmp_path: Path) -> Path:
    """A folder with the kubeconfigs of two clusters whose API servers do not answer."""
    for name in ("primary", "remote"):
        write_kubeconfig(tmp_path / f"{name}.kubeconfig", "http://127.0.0.1:1")
    return tmp_path


def test_a_behaviour_is_collected_once_and_only_the_first_five_are(absent: Path) -> None:
    mesh, reports = mesh_info(absent), absent / "report"
    names = [f"test_{number}" for number in (1, 1, 2, 3, 4, 5, 6)]
    found = [of_failure(mesh, reports, name, f"{name}[a→b]", since=SINCE) for name in names]
    assert [bool(one) for one in found] == [True, False, True, True, True, True, False]
    assert sorted(one.name for one in (reports / "diagnostics").iterdir()) == [
        "index.html",
        *(f"test_{number}" for number in range(1, 1 + failures.BEHAVIOURS)),
    ]


def test_a_mesh_that_does_not_answer_is_said_to_be_unread(absent: Path) -> None:
    found = of_failure(mesh_info(absent), absent / "report", "../odd name", "t", since=SINCE)
    assert found is not None
    assert found.folder == absent / "report" / "diagnostics" / "..-odd-name"
    assert not found.collected.files
    assert found.collected.unread
    assert "not read" in (absent / "report" / "diagnostics" / "index.html").read_text()


def test_the_end_of_a_run_is_collected_beside_the_failures(absent: Path) -> None:
    found = of_run(mesh_info(absent), absent / "report", since=SINCE)
    assert found.folder.name == "end-of-run"
    assert "the end of the run" in (absent / "report" / "diagnostics" / "index.html").read_text()
