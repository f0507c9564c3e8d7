"""Child processes: bounded, each in a group of its own, and gone when the run is."""

from __future__ import annotations

import contextvars
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TypeVar

from splithorizon.errors import Cancelled, CommandFailed

T = TypeVar("T")

_GRACE = 2.0  # seconds between asking a group to end and ending it

_lock = threading.Lock()
_running: set[_Child] = set()
_cancelled = threading.Event()
_cleaning = contextvars.ContextVar("cleaning", default=False)


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
    # Files and not pipes: a pipe stays open as long as any grandchild that outlives the program.
    with TemporaryFile() as source, TemporaryFile() as out, TemporaryFile() as err:
        source.write(stdin.encode() if isinstance(stdin, str) else stdin or b"")
        source.seek(0)
        child = _start(argv, {**os.environ, **(env or {})}, cwd, (source, out, err))
        try:
            in_time = child.ended(within)
        finally:
            status, seconds = _end(child), time.monotonic() - begun
            done = Completed(tuple(argv), status, _text(out), _text(err), seconds)
            if log is not None:
                _append(log, done)
    if not _cleaning.get():
        raise_if_cancelled()
    if not in_time:
        why = f"did not end within {within:g} s"
        raise CommandFailed(argv, None, done.stdout, done.stderr, why)
    if check and status:
        raise CommandFailed(argv, status, done.stdout, done.stderr)
    return done


def cancel_all() -> None:
    """Stop every running program, and refuse to start others; ``cleaning_up`` is exempt."""
    with _lock:
        _cancelled.set()
        for child in _running:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        for child in _running:
            child.ended(deadline - time.monotonic())
            child.signal(signal.SIGKILL)


def raise_if_cancelled() -> None:
    """Raise Cancelled once the run is being stopped, except where it is being cleaned up."""
    if _cancelled.is_set() and not _cleaning.get():
        raise Cancelled("the run is being stopped")


@contextmanager
def cleaning_up() -> Iterator[None]:
    """Let this thread, and what it runs side by side, start programs that nothing cancels."""
    token = _cleaning.set(True)
    try:
        yield
    finally:
        _cleaning.reset(token)


def side_by_side(**steps: Callable[[], T]) -> dict[str, T]:
    """Run steps in threads; return their results by name once all have ended.

    The first failure is raised then, the later ones as its notes. An interrupt of this thread
    stops the steps' programs first.
    """
    failures: dict[str, BaseException] = {}

    def attempt(name: str, step: Callable[[], T]) -> T:
        try:
            return step()
        except BaseException as error:
            failures[name] = error
            raise

    with ThreadPoolExecutor(max(1, len(steps))) as pool:
        begun = {
            name: pool.submit(contextvars.copy_context().run, attempt, name, step)
            for name, step in steps.items()
        }
        try:
            wait(begun.values())
        except BaseException:
            cancel_all()
            raise
    if failures:
        first, *others = failures
        for name in others:
            failures[first].add_note(f"then {name} failed too: {failures[name]}")
        raise failures[first]
    return {name: step.result() for name, step in begun.items()}


class _Child:
    """A running program. It is not reaped before the end, so nothing else can have its id."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self._descriptor = os.pidfd_open(popen.pid)

    def ended(self, within: float) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(max(0.0, within) * 1000))

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)

    def reap(self) -> int:
        os.close(self._descriptor)
        return self._popen.wait()


def _start(
    argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, files: Sequence[IO[bytes]]
) -> _Child:
    if shutil.which(argv[0], path=env.get("PATH")) is None:
        raise CommandFailed(argv, None, "", "", "cannot be started: there is no such program")
    # What even SIGKILL cannot prevent: the kernel asks the program to end when this process is gone.
    prefix = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    source, out, err = files
    # One lock with cancel_all: a program is either refused here or known there.
    with _lock:
        raise_if_cancelled()
        popen = subprocess.Popen(
            [*prefix, *argv],
            stdin=source,
            stdout=out,
            stderr=err,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        child = _Child(popen)
        if not _cleaning.get():
            _running.add(child)
    return child


def _end(child: _Child) -> int:
    """Stop a program's group where the program still runs, politely and then not; reap it."""
    with _lock:
        _running.discard(child)
    if not child.ended(0):
        child.signal(signal.SIGTERM)
        child.ended(_GRACE)
        child.signal(signal.SIGKILL)
    return child.reap()


def _append(log: Path, done: Completed) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(
            f"$ {' '.join(done.argv)}\n{done.stdout}{done.stderr}"
            f"[{done.status}, {done.seconds:.1f} s]\n"
        )


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
