"""Only programs of a dead run are killed, shown with real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lab import orphans
from splithorizon.base.waiting import NotYet, eventually

MARK = f"mark-{os.getpid()}-of-this-test"


@pytest.fixture
def kind(tmp_path: Path) -> Path:
    """A program named ``kind`` that only waits."""
    program = tmp_path / "kind"
    shutil.copy(shutil.which("sleep") or "", program)
    return program


Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    programs: list[subprocess.Popen[bytes]] = []

    def started(*command: str | Path, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        programs.append(program := subprocess.Popen(command, env=env))

        # Popen may return before the kernel has replaced the command line.
        def has_started() -> None:
            if psutil.Process(program.pid).cmdline()[:1] != [str(command[0])]:
                raise NotYet("the old command line")

        eventually(f"{command[0]} has started", has_started, within=30, every=0.01)
        return program

    yield started
    for program in programs:
        program.kill()
        program.wait()


def test_a_program_of_a_dead_run_is_killed(kind: Path, start: Start) -> None:
    ours = start(kind, "60", env={})
    orphans.end({str(kind.parent)})
    assert ours.wait(30) == -signal.SIGKILL


def test_a_program_that_only_reads_the_runs_log_is_not(kind: Path, start: Start) -> None:
    reader = start("sh", "-c", "sleep 60; :", str(kind.parent))
    other = start(kind, "60")
    orphans.end({MARK})
    assert reader.poll() is None
    assert other.poll() is None


def test_a_longer_name_that_begins_with_the_mark_is_not(kind: Path, start: Start) -> None:
    (longer := kind.with_name("run-2")).mkdir()
    shutil.copy(kind, longer / "kind")
    other = start(longer / "kind", "60", env={})
    orphans.end({str(kind.with_name("run"))})
    assert other.poll() is None
