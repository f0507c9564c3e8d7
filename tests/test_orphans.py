"""Only the programs of a dead run are ended: proven with real ones."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from splithorizon import orphans

MARK = f"mark-{os.getpid()}-of-this-test"


@pytest.fixture
def kind(tmp_path: Path) -> Path:
    """A program of that name which only waits."""
    program = tmp_path / "kind"
    shutil.copy(shutil.which("sleep") or "", program)
    return program


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    programs: list[subprocess.Popen[bytes]] = []
    yield programs
    for program in programs:
        program.kill()
        program.wait()


def test_a_dead_runs_program_is_ended(kind: Path, started: list[subprocess.Popen[bytes]]) -> None:
    started.append(ours := subprocess.Popen([kind, "60"], env={}))
    orphans.end({str(kind.parent)})
    assert ours.wait(5) == -signal.SIGKILL


def test_somebody_who_reads_its_log_is_not(kind: Path, started: list[subprocess.Popen[bytes]]) -> None:
    started.append(reader := subprocess.Popen(["sh", "-c", "sleep 60; :", str(kind.parent)]))
    started.append(other := subprocess.Popen([kind, "60"]))
    orphans.end({MARK})
    assert reader.poll() is None
    assert other.poll() is None


def test_a_longer_name_that_begins_with_the_mark_is_not(kind: Path, started: list[subprocess.Popen[bytes]]) -> None:
    (longer := kind.with_name("run-2")).mkdir()
    shutil.copy(kind, longer / "kind")
    started.append(other := subprocess.Popen([longer / "kind", "60"], env={}))
    orphans.end({str(kind.with_name("run"))})
    assert other.poll() is None
