"""Child processes: bounded, each in a group of its own, and gone when the run is."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from splithorizon.base import processes
from splithorizon.base.cancel import (
    GRACE,
    cancel_all,
    cleaning_up,
    enter,
    leave,
    raise_if_cancelled,
    side_by_side,
    uninterrupted,
)
from splithorizon.base.errors import CommandFailed

__all__ = [
    "Completed",
    "cancel_all",
    "cleaning_up",
    "raise_if_cancelled",
    "run",
    "side_by_side",
]


_BINDER = "setpriv"
# Seconds between two looks at a child; its end is noticed that much later.
_POLLED_EVERY = 0.02


@dataclass(frozen=True)
class Completed:
    """A program that ended: its command, exit status, output and seconds."""

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
) -> Completed:
    """Run a program for at most ``within`` seconds; ``env`` is added to this process's own.

    Raises CommandFailed where it cannot be started, ends badly (unless ``check`` is off) or not in
    time, and Cancelled once the run is being stopped. However this call is left, the program is
    gone; where it had to be stopped, so is its whole process group.
    """
    begun = time.monotonic()
    environment = {**os.environ, **(env or {})}
    if shutil.which(argv[0], path=environment.get("PATH")) is None:
        raise CommandFailed(argv, None, "", "", "cannot be started: there is no such program")
    # What SIGKILL leaves us no time for: the kernel asks a program to end once we are gone.
    bound = [_BINDER, "--pdeathsig", "TERM", "--"] if shutil.which(_BINDER) else []
    # Files and not pipes: a pipe stays open as long as any grandchild that outlives the program.
    with TemporaryFile() as source, TemporaryFile() as out, TemporaryFile() as err:
        source.write(stdin.encode() if isinstance(stdin, str) else stdin or b"")
        source.seek(0)
        child: _Child | None = None
        try:
            with uninterrupted():
                child = enter(lambda: _Child([*bound, *argv], environment, cwd, (source, out, err)))
            in_time = child.ended(within)
        finally:
            if child is not None:
                with uninterrupted():
                    status, seconds = child.end(), time.monotonic() - begun
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


def _readable(descriptor: int, within: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0.0, within) * 1000))


def _polled(pid: int, within: float) -> bool:
    """Whether a child ends in time; for systems that have no descriptors of processes. It is not reaped."""
    deadline = time.monotonic() + within
    while processes.identity(pid) is not None:
        if (left := deadline - time.monotonic()) <= 0:
            return False
        select.select([], [], [], min(left, _POLLED_EVERY))
    return True


class _Child:
    """A running program. It is not reaped before the end, so nothing else can have its id."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path | None,
        files: tuple[IO[bytes], IO[bytes], IO[bytes]],
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
            return _polled(self._popen.pid, within)
        return _readable(self._descriptor, within)

    def signal(self, number: int) -> None:
        # macOS refuses a signal to a group whose leader has ended and is not reaped yet.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)

    def end(self) -> int:
        """Stop the group where the program still runs, politely and then not; reap the program."""
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
