"""Child processes: each has a deadline and its own process group, and ends no later than the run."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from splithorizon.base import processes
from splithorizon.base.cancel import (
    GRACE,
    cancel_all,
    cleaning_up,
    enter,
    leave,
    raise_if_cancelled,
    uninterrupted,
)
from splithorizon.base.errors import CommandFailed
from splithorizon.base.parallel import side_by_side

__all__ = [
    "Completed",
    "cancel_all",
    "cleaning_up",
    "raise_if_cancelled",
    "run",
    "side_by_side",
]


_SETPRIV = "setpriv"
# Seconds between two polls of a child process; its end is detected up to that much later.
_POLL_INTERVAL = 0.02


@dataclass(frozen=True)
class Completed:
    """A program that ended: its command, exit status, output and duration in seconds."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str
    seconds: float


def run(
    argv: Sequence[str],
    *,
    within: float,
    stdin: str | bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    check: bool = True,
    terminal: bool = False,
) -> Completed:
    """Run a program for at most ``within`` seconds.

    ``env`` is added to the environment of this process. ``log`` is a file to which the command, its output and its
    status are appended. With ``terminal`` the program reads from this process's standard input, and its standard error
    is not kept but goes to that of this process, so that it can ask something.
    Raises CommandFailed if the program cannot be started, does not end in time or, with ``check``, exits with another
    status than 0; raises Cancelled if the run is cancelled. The program has ended whenever this call returns or raises.
    If it had to be stopped, its whole process group has.
    """
    started = time.monotonic()
    environment = {**os.environ, **(env or {})}
    if shutil.which(argv[0], path=environment.get("PATH")) is None:
        raise CommandFailed(argv, None, "", "", "cannot be started: no such program")
    # If this process is killed, the kernel sends SIGTERM to the program.
    prefix = [_SETPRIV, "--pdeathsig", "TERM", "--"] if shutil.which(_SETPRIV) else []
    # Files instead of pipes: a grandchild that outlives the program would keep a pipe open.
    with TemporaryFile() as source, TemporaryFile() as out, TemporaryFile() as err:
        source.write(stdin.encode() if isinstance(stdin, str) else stdin or b"")
        source.seek(0)
        child: _Child | None = None
        try:
            with uninterrupted():
                files = (sys.__stdin__ or source, out, sys.__stderr__ or err) if terminal else (source, out, err)
                child = enter(lambda: _Child([*prefix, *argv], environment, cwd, files))
            in_time = child.ended(within)
        finally:
            if child is not None:
                with uninterrupted():
                    status, seconds = child.end(), time.monotonic() - started
                done = Completed(tuple(argv), status, _text(out), _text(err), seconds)
                if log is not None:
                    _append(log, done)
    raise_if_cancelled()
    if not in_time:
        why = f"did not end within {within:g} s"
        raise CommandFailed(argv, None, done.stdout, done.stderr, why)
    if check and status:
        raise CommandFailed(argv, status, done.stdout, done.stderr)
    return done


def _becomes_readable(descriptor: int, within: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0.0, within) * 1000))


def _ends_polled(pid: int, within: float) -> bool:
    """Whether a child process ends in time, without reaping it; for systems without pidfd."""
    deadline = time.monotonic() + within
    while processes.identity(pid) is not None:
        if (left := deadline - time.monotonic()) <= 0:
            return False
        select.select([], [], [], min(left, _POLL_INTERVAL))
    return True


class _Child:
    """A running program. It is reaped by ``end`` alone, so that no other process can get its id before."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path | None,
        files: tuple[IO[Any], IO[Any], IO[Any]],
    ) -> None:
        source, out, err = files
        self._popen = subprocess.Popen(
            argv,
            stdin=source,
            stdout=out,
            stderr=err,
            env=environment,
            cwd=cwd,
            start_new_session=True,
        )
        self._descriptor = os.pidfd_open(self._popen.pid) if hasattr(os, "pidfd_open") else None

    def ended(self, within: float) -> bool:
        if self._descriptor is None:
            return _ends_polled(self._popen.pid, within)
        return _becomes_readable(self._descriptor, within)

    def signal(self, number: int) -> None:
        # macOS refuses a signal to a process group whose leader is a zombie.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)

    def end(self) -> int:
        """If the program still runs, stop its process group by SIGTERM and then SIGKILL; reap the program."""
        leave(self)
        if not self.ended(0):
            self.signal(signal.SIGTERM)
            self.ended(GRACE)
            self.signal(signal.SIGKILL)
        if self._descriptor is not None:
            os.close(self._descriptor)
        return self._popen.wait()


def _append(log: Path, done: Completed) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"$ {' '.join(done.argv)}\n{done.stdout}{done.stderr}[{done.status}, {done.seconds:.1f} s]\n")


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
