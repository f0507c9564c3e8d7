"""A lock excludes other processes, is released with its process, and a wait for it has an end."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
from pathlib import Path

import pytest

from splithorizon.base.errors import TimedOut
from splithorizon.base.file_lock import exclusive, held, locked
from tests.support.child_python import line_of, running
from tests.support.manual_clock import ManualClock

HOLDS = """
import fcntl, pathlib, signal, sys
from splithorizon.base.file_lock import held
with held(pathlib.Path(sys.argv[1]), getattr(fcntl, sys.argv[2])):
    print("held", flush=True)
    signal.pause()
"""


def is_free(path: Path, operation: int) -> bool:
    try:
        with locked(path, operation | fcntl.LOCK_NB):
            return True
    except BlockingIOError:
        return False


@pytest.mark.parametrize(("theirs", "shared"), [("LOCK_SH", True), ("LOCK_EX", False)])
def test_a_lock_counts_among_processes_and_is_released_when_its_process_is_killed(
    tmp_path: Path, theirs: str, shared: bool
) -> None:
    file = tmp_path / "lock"
    with running(HOLDS, str(file), theirs) as child:
        assert line_of(child) == "held"
        assert is_free(file, fcntl.LOCK_SH) is shared
        assert not is_free(file, fcntl.LOCK_EX)
        child.send_signal(signal.SIGKILL)
        assert child.wait(30) == -signal.SIGKILL
    assert is_free(file, fcntl.LOCK_EX)


def test_a_folder_is_locked_without_a_file(tmp_path: Path) -> None:
    with locked(tmp_path, fcntl.LOCK_EX):
        assert not is_free(tmp_path, fcntl.LOCK_SH)
    assert is_free(tmp_path, fcntl.LOCK_EX)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_created_private_and_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with held(file, fcntl.LOCK_EX):
        inode = file.stat().st_ino
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with held(file, fcntl.LOCK_EX):
        assert file.stat().st_ino == inode


def test_a_wait_for_an_exclusive_lock_is_announced_once_and_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ManualClock.installed(monkeypatch)
    waits: list[str] = []

    def take() -> None:
        options = {"claim": "the build is free", "busy": "another process builds"}
        with exclusive(tmp_path, **options, within=9, on_wait=lambda: waits.append("waiting")):
            pytest.fail("the lock is not free")

    with locked(tmp_path, fcntl.LOCK_EX), pytest.raises(TimedOut) as caught:
        take()
    assert caught.value.what.startswith("the build is free: not true within 9 s")
    assert caught.value.seen.startswith("another process builds")
    assert waits == ["waiting"]


def test_an_exclusive_lock_is_taken_as_soon_as_it_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock.installed(monkeypatch)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with exclusive(tmp_path, claim="free", busy="busy", within=9, on_wait=lambda: os.close(descriptor)):
        assert not is_free(tmp_path, fcntl.LOCK_SH)
        assert 0 < clock.now() < 1, "one wait"
    assert is_free(tmp_path, fcntl.LOCK_EX)


def test_an_exclusive_lock_that_is_free_announces_no_wait_and_passes_errors_on(tmp_path: Path) -> None:
    def fail() -> None:
        with exclusive(tmp_path, claim="free", busy="busy", within=9, on_wait=lambda: pytest.fail("it is free")):
            raise BlockingIOError("of the block, not of the lock")

    with pytest.raises(BlockingIOError, match="of the block"):
        fail()
    assert is_free(tmp_path, fcntl.LOCK_EX)
