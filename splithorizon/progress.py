"""One line per step, with its role and its time; and never ten seconds of silence."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from splithorizon.durations import current as durations


@dataclass(frozen=True)
class StepTime:
    """A finished step: when it began, in seconds after the run did, and how long it took."""

    name: str
    role: str | None
    started_after: float
    seconds: float
    outcome: str


class Progress:
    """Prints what begins and what has ended; a heartbeat names what still runs. Safe between threads."""

    def __init__(self, write: Callable[[str], None], heartbeat: float | None = None) -> None:
        """Hand every line to ``write`` as it comes."""
        self._write = write
        self._heartbeat = heartbeat or durations().heartbeat
        self._begun = time.monotonic()
        self._printed = self._begun
        self._lock = threading.RLock()
        self._running: dict[int, tuple[str, float]] = {}
        self._finished: list[StepTime] = []
        self._closed = threading.Event()
        self._pulse: threading.Thread | None = None
        self._glyphs = _glyphs()

    @property
    def steps(self) -> list[StepTime]:
        """Every finished step, in the order they ended."""
        with self._lock:
            return list(self._finished)

    def say(self, text: str, role: str | None = None) -> None:
        """Print one line that is not a step."""
        self._line(" ", text, role)

    @contextmanager
    def step(self, name: str, role: str | None = None) -> Iterator[None]:
        """Print and time a step; a failing one is marked as such and raises on."""
        begun = time.monotonic()
        label = f"[{role}] {name}" if role else name
        with self._lock:
            token = id(threading.current_thread()) * 1000 + len(self._running)
            self._running[token] = (label, begun)
            self._line(self._glyphs[0], name, role)
            self._start_pulse()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        finally:
            seconds = time.monotonic() - begun
            with self._lock:
                self._running.pop(token)
                self._finished.append(StepTime(name, role, begun - self._begun, seconds, outcome))
                glyph = self._glyphs[1 if outcome == "done" else 2]
                self._line(glyph, f"{name} ({seconds:.1f} s)", role)

    def close(self) -> None:
        """Stop the heartbeat."""
        self._closed.set()
        if self._pulse is not None:
            self._pulse.join()

    def _line(self, glyph: str, text: str, role: str | None) -> None:
        with self._lock:
            self._printed = time.monotonic()
            label = f"[{role}] " if role else ""
            self._write(f"{self._printed - self._begun:6.1f} s  {glyph} {label}{text}")

    def _start_pulse(self) -> None:
        if self._pulse is None:
            self._pulse = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._pulse.start()

    def _beat(self) -> None:
        while not self._closed.wait(self._heartbeat / 8):
            with self._lock:
                now = time.monotonic()
                if self._running and now - self._printed >= self._heartbeat:
                    names = [f"{label} ({now - begun:.0f} s)" for label, begun in self._running.values()]
                    self._line(self._glyphs[0], "still: " + ", ".join(names), None)


def _glyphs() -> tuple[str, str, str]:
    encoding = getattr(sys.stderr, "encoding", None) or "ascii"
    try:
        "…✓✗".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ".", "+", "x"
    return "…", "✓", "✗"
