"""One line per step, with its cluster and its time; and never ten seconds of silence.

On a terminal the steps that run are shown below the lines, each with its seconds. Elsewhere a heartbeat names them.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TextIO

from annotated_types import Ge
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from splithorizon.base.timeouts import current as timeouts

_BEGUN, _ENDED, _FAILED = "…", "✓", "✗"
_IN_ASCII = {_BEGUN: "...", _ENDED: "ok", _FAILED: "FAILED"}
_STYLES = {_BEGUN: "dim", _ENDED: "green", _FAILED: "red"}
_REFRESHED_PER_SECOND = 4


@dataclass(frozen=True)
class StepTime:
    """A finished step of set-up or removal."""

    # For the report, which takes steps as they are.
    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "use_attribute_docstrings": True}

    name: str
    """What was done."""
    cluster: str | None
    """In which cluster; null for what concerns several or none."""
    started_after: Annotated[float, Ge(0)]
    """When it began, counted from the run's start."""
    seconds: Annotated[float, Ge(0)]
    """How long it took."""
    outcome: Literal["done", "failed"]
    """How it ended; a step that an exception left has failed."""


@dataclass(eq=False)
class _Running:
    label: str
    begun: float


def live_console(stream: TextIO) -> Console | None:
    """Give a console for live progress on a stream, or None where there are only lines to be read later.

    A terminal that cannot move its cursor is none, and neither is that of a CI system. NO_COLOR is honoured.
    """
    if not stream.isatty() or os.environ.get("CI"):
        return None
    console = _Steady(file=stream, markup=False, emoji=False, highlight=False)
    return None if console.is_dumb_terminal else console


class _Steady(Console):
    """A console that never hides the cursor: a run that is killed could not show it again."""

    def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002  # rich's own signature
        return False


class Progress:
    """Prints what begins and what has ended; a heartbeat names what still runs. Safe in threads."""

    def __init__(
        self,
        write: Callable[[str], None],
        heartbeat: float | None = None,
        *,
        encoding: str | None = None,
        live: Console | None = None,
    ) -> None:
        """Hand every line to ``write`` as it comes, in ASCII where ``encoding`` has no glyphs.

        ``heartbeat`` is the longest silence in seconds while a step runs; without an ``encoding``
        it is that of the process's standard error. With ``live`` the steps that run are shown there.
        """
        self._console = live
        self._live: Live | None = None
        # Replaced as a whole, never changed: the display reads it in a thread of its own, without our lock.
        self._shown: tuple[_Running, ...] = ()
        self._write = write
        self._heartbeat = timeouts().heartbeat if heartbeat is None else heartbeat
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
        outcome: Literal["done", "failed"] = "failed"
        try:
            with self._lock:
                self._running.append(step)
                self._shown += (step,)
                if self._console is None:
                    self._line(_BEGUN, step.label)
                self._display_what_runs()
                self._start_pulse()
            yield
            outcome = "done"
        finally:
            seconds = time.monotonic() - step.begun
            with self._lock:
                if step in self._running:
                    self._running.remove(step)
                self._shown = tuple(one for one in self._shown if one is not step)
                self._finished.append(StepTime(name, role, step.begun - self._begun, seconds, outcome))
                glyph = _ENDED if outcome == "done" else _FAILED
                self._line(glyph, f"{step.label} ({seconds:.1f} s)")
                self._display_what_runs()

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
        with self._lock:
            self._shown = ()
            self._display_what_runs()
        if self._pulse is not None:
            self._pulse.join()
            self._pulse = None

    def _line(self, glyph: str, text: str) -> None:
        with self._lock:
            self._printed = time.monotonic()
            line = self._formatted(self._printed, glyph, text)
            # A terminal that is gone must not keep a run from removing what it made.
            with suppress(OSError, ValueError):
                if self._live is None:
                    self._write(line)
                else:
                    # Above the display, which any other line would break.
                    self._live.console.print(Text(line, _STYLES.get(glyph, "")), soft_wrap=True)

    def _formatted(self, now: float, glyph: str, text: str) -> str:
        if self._ascii:
            # Escaped, not translated: a node id or a command stays recognisable as what it is.
            glyph = _IN_ASCII.get(glyph, glyph)
            text = text.encode("ascii", "backslashreplace").decode()
        return f"{now - self._begun:6.1f} s  {glyph} {text}"

    def _display_what_runs(self) -> None:
        """Begin the display with the first step that runs, and end it with the last."""
        if self._console is None:
            return
        with suppress(OSError, ValueError):
            if self._shown and self._live is None:
                self._live = Live(
                    get_renderable=self._display,
                    console=self._console,
                    refresh_per_second=_REFRESHED_PER_SECOND,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._live.start(refresh=True)
            elif not self._shown and self._live is not None:
                live, self._live = self._live, None
                live.stop()

    def _display(self) -> RenderableType:
        now = time.monotonic()
        running = [self._formatted(now, _BEGUN, f"{step.label} ({now - step.begun:.0f} s)") for step in self._shown]
        return Text("\n".join(running), _STYLES[_BEGUN], no_wrap=True, overflow="crop")

    def _start_pulse(self) -> None:
        if self._pulse is None:
            self._closed.clear()
            self._pulse = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._pulse.start()

    def _beat(self) -> None:
        while not self._closed.wait(self._heartbeat / 8):
            with self._lock:
                now = time.monotonic()
                if self._running and self._live is None and now - self._printed >= self._heartbeat:
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
