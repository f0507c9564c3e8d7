"""One line per step, with its role and its time; and never ten seconds of silence."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from splithorizon.durations import current as durations

_BEGUN, _ENDED, _FAILED = "…", "✓", "✗"
_IN_ASCII = str.maketrans({_BEGUN: "...", _ENDED: "ok", _FAILED: "FAILED", "→": "->"})


@dataclass(frozen=True)
class StepTime:
    """A finished step: when it began, in seconds after the run did, and how long it took.

    The outcome is "done", or "failed" where the step was left by an exception.
    """

    name: str
    role: str | None
    started_after: float
    seconds: float
    outcome: str


@dataclass(eq=False)
class _Running:
    label: str
    begun: float


class Progress:
    """Prints what begins and what has ended; a heartbeat names what still runs. Safe in threads."""

    def __init__(
        self,
        write: Callable[[str], None],
        heartbeat: float | None = None,
        *,
        encoding: str | None = None,
    ) -> None:
        """Hand every line to ``write`` as it comes, in ASCII where ``encoding`` has no glyphs.

        ``heartbeat`` is the longest silence in seconds while a step runs; without an ``encoding``
        it is that of the process's standard error.
        """
        self._write = write
        self._heartbeat = durations().heartbeat if heartbeat is None else heartbeat
        self._ascii = not _can_encode(encoding or getattr(sys.__stderr__, "encoding", None))
        self._begun = self._printed = time.monotonic()
        self._lock = threading.RLock()
        self._running: list[_Running] = []
        self._finished: list[StepTime] = []
        self._closed = threading.Event()
        self._pulse: threading.Thread | None = None

    @property
    def steps(self) -> list[StepTime]:
        """Every finished step, in the order they ended."""
        with self._lock:
            return list(self._finished)

    def say(self, text: str, role: str | None = None) -> None:
        """Print one line that is not a step."""
        self._line(" ", _label(text, role))

    @contextmanager
    def step(self, name: str, role: str | None = None) -> Iterator[None]:
        """Print and time a step; one that raises is marked as failed, and raises on."""
        step = _Running(_label(name, role), time.monotonic())
        with self._lock:
            self._running.append(step)
            self._line(_BEGUN, step.label)
            self._start_pulse()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        finally:
            seconds = time.monotonic() - step.begun
            with self._lock:
                self._running.remove(step)
                self._finished.append(StepTime(name, role, step.begun - self._begun, seconds, outcome))
                glyph = _ENDED if outcome == "done" else _FAILED
                self._line(glyph, f"{step.label} ({seconds:.1f} s)")

    @contextmanager
    def quiet_step(self, name: str) -> Iterator[None]:
        """Let the heartbeat name what somebody else tells the beginning and the end of."""
        step = _Running(name, time.monotonic())
        with self._lock:
            self._printed = time.monotonic()
            self._running.append(step)
            self._start_pulse()
        try:
            yield
        finally:
            with self._lock:
                self._printed = time.monotonic()
                self._running.remove(step)

    def close(self) -> None:
        """Stop the heartbeat; more may be said, and a later step starts it again."""
        self._closed.set()
        if self._pulse is not None:
            self._pulse.join()
            self._pulse = None

    def _line(self, glyph: str, text: str) -> None:
        with self._lock:
            self._printed = time.monotonic()
            line = f"{self._printed - self._begun:6.1f} s  {glyph} {text}"
            # A terminal that is gone must not keep a run from removing what it made.
            with suppress(OSError, ValueError):
                self._write(line.translate(_IN_ASCII) if self._ascii else line)

    def _start_pulse(self) -> None:
        if self._pulse is None:
            self._closed.clear()
            self._pulse = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._pulse.start()

    def _beat(self) -> None:
        while not self._closed.wait(self._heartbeat / 8):
            with self._lock:
                now = time.monotonic()
                if self._running and now - self._printed >= self._heartbeat:
                    running = (f"{step.label} ({now - step.begun:.0f} s)" for step in self._running)
                    self._line(_BEGUN, f"still: {', '.join(running)}")


def _label(text: str, role: str | None) -> str:
    return f"[{role}] {text}" if role else text


def _can_encode(encoding: str | None) -> bool:
    try:
        f"{_BEGUN}{_ENDED}{_FAILED}".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
