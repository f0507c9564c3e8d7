"""Child processes that run code of this repository: for tests of signals, and of what ends or marks a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from splithorizon.base.waiting import NotYet, eventually

REPOSITORY = Path(__file__).resolve().parents[2]


@contextmanager
def running(code: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run code with ``arguments`` as ``sys.argv[1:]``; SIGINT interrupts it, and the end of the block kills it."""
    # SIGINT is ignored if a shell has started the tests in the background.
    prelude = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    child = subprocess.Popen(
        [sys.executable, "-c", prelude + textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
    )
    try:
        with child:
            try:
                yield child
            finally:
                child.kill()
    finally:
        assert child.poll() is not None


def line_of(child: subprocess.Popen[str]) -> str:
    """The next line that the child prints."""
    assert child.stdout is not None
    return child.stdout.readline().strip()


def alive(pid: int) -> bool:
    """Whether a process with this id exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def await_gone(*pids: int, within: float = 5.0) -> None:
    """Wait until all of these processes have ended; kill the others, and raise TimedOut with their ids."""

    def gone() -> None:
        if left := [pid for pid in pids if alive(pid)]:
            raise NotYet(f"still running: {left}")

    try:
        eventually("the processes are gone", gone, within=within, every=0.02)
    finally:
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)
