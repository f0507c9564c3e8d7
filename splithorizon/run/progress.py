"""Progress of a run: a line for the beginning and the end of each step, with its cluster and its duration.

On a terminal, the steps that are running are displayed below these lines. Elsewhere a heartbeat line names them, at
least every ten seconds.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TextIO

from annotated_types import Ge
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from splithorizon.base.timeouts import current as timeouts

_RUNNING, _DONE, _FAILED = "…", "✓", "✗"
_IN_ASCII = {_RUNNING: "...", _DONE: "ok", _FAILED: "FAILED"}
_STYLES = {_RUNNING: "dim", _DONE: "green", _FAILED: "red"}
_REFRESHES_PER_SECOND = 4


@dataclass(frozen=True)
class StepTime:
    """A finished step of set-up or removal."""

    # The report contains these objects as they are.
    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "use_attribute_docstrings": True}

    name: str
    """What was done."""
    cluster: str | None
    """The cluster; null for a step that concerns several clusters or none."""
    started_after: Annotated[float, Ge(0)]
    """When it began, in seconds after the start of the run."""
    seconds: Annotated[float, Ge(0)]
    """Its duration."""
    outcome: Literal["done", "failed"]
    """How it ended; a step that raises an exception has failed."""


@dataclass(eq=False)
class _Running:
    label: str
    begun: float


def live_console(stream: TextIO) -> Console | None:
    """A console for live progress on a stream, or None if the stream is not a terminal.

    A terminal that cannot move its cursor does not count, nor does the terminal of a CI system. NO_COLOR is honoured.
    """
    if not stream.isatty() or os.environ.get("CI"):
        return None
    console = _CursorShown(file=stream, markup=False, emoji=False, highlight=False)
    return None if console.is_dumb_terminal else console


class _CursorShown(Console):
    """A console that never hides the cursor, because a run that is killed could not show it again."""

    def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002  # rich's signature
        return False


class Progress:
    """Prints lines about steps, and a heartbeat while a step runs without a line. Safe for use in several threads."""

    def __init__(
        self,
        write: Callable[[str], None],
        heartbeat: float | None = None,
        *,
        encoding: str | None = None,
        live: Console | None = None,
        at_terminal: Callable[[], AbstractContextManager[None]] = nullcontext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Pass every line to ``write``, in ASCII if ``encoding``, by default that of standard error, lacks our glyphs.

        ``heartbeat`` is the longest time in seconds without a line while a step runs. Running steps are displayed on
        the console ``live``, if there is one. ``clock`` returns seconds. While the context ``at_terminal`` is open, a
        child process has the terminal of this one.
        """
        self.at_terminal = at_terminal
        self._clock = clock
        self._console = live
        self._live: Live | None = None
        # Always replaced by a new tuple, because the display's thread reads it without our lock.
        self._displayed: tuple[_Running, ...] = ()
        self._table: Callable[[], RenderableType] | None = None
        self._write = write
        self._heartbeat = timeouts().heartbeat if heartbeat is None else heartbeat
        self._ascii = not _can_encode(encoding or getattr(sys.__stderr__, "encoding", None))
        self._begun = self._last_line = clock()
        self._lock = threading.RLock()
        self._running: list[_Running] = []
        self._finished: list[StepTime] = []
        self._closed = threading.Event()
        self._heartbeats: threading.Thread | None = None

    @property
    def steps(self) -> list[StepTime]:
        """Every finished step, in the order in which they ended."""
        with self._lock:
            return list(self._finished)

    def say(self, text: str, cluster: str | None = None) -> None:
        """Print a line that is not about a step."""
        self._line(" ", _label(text, cluster))

    @contextmanager
    def step(self, name: str, cluster: str | None = None) -> Iterator[None]:
        """Print and measure a step. If the block raises, the step has failed, and the exception is raised again."""
        step = _Running(_label(name, cluster), self._clock())
        outcome: Literal["done", "failed"] = "failed"
        try:
            with self._lock:
                self._running.append(step)
                self._displayed += (step,)
                if self._console is None:
                    self._line(_RUNNING, step.label)
                self._update_display()
                self._start_heartbeats()
            yield
            outcome = "done"
        finally:
            seconds = self._clock() - step.begun
            with self._lock:
                if step in self._running:
                    self._running.remove(step)
                self._displayed = tuple(other for other in self._displayed if other is not step)
                self._finished.append(StepTime(name, cluster, step.begun - self._begun, seconds, outcome))
                glyph = _DONE if outcome == "done" else _FAILED
                self._line(glyph, f"{step.label} ({seconds:.1f} s)")
                self._update_display()

    @contextmanager
    def quiet_step(self, name: str) -> Iterator[None]:
        """Let the heartbeat name a step whose beginning and end are printed elsewhere."""
        step = _Running(name, self._clock())
        with self._lock:
            self._last_line = self._clock()
            self._running.append(step)
            self._start_heartbeats()
        try:
            yield
        finally:
            with self._lock:
                self._last_line = self._clock()
                self._running.remove(step)

    @contextmanager
    def table(self, content: Callable[[], RenderableType]) -> Iterator[bool]:
        """Show what ``content`` returns above the running steps, several times a second, while the block lasts.

        Yields whether there is a terminal to show it on. ``content`` is called in a thread of the display's.
        """
        with self._lock:
            self._table = content if self._console is not None else None
            self._update_display()
        try:
            yield self._table is not None
        finally:
            with self._lock:
                self._table = None
                self._update_display()

    def close(self) -> None:
        """Stop the heartbeat and the display. A later step starts them again."""
        self._closed.set()
        with self._lock:
            self._displayed = ()
            self._table = None
            self._update_display()
        if self._heartbeats is not None:
            self._heartbeats.join()
            self._heartbeats = None

    def _line(self, glyph: str, text: str) -> None:
        with self._lock:
            self._last_line = self._clock()
            line = self._formatted(self._last_line, glyph, text)
            # A closed terminal must not keep a run from removing what it created.
            with suppress(OSError, ValueError):
                if self._live is None:
                    self._write(line)
                else:
                    # The console prints above its display. A line printed otherwise would break the display.
                    self._live.console.print(Text(line, _STYLES.get(glyph, "")), soft_wrap=True)

    def _formatted(self, now: float, glyph: str, text: str) -> str:
        if self._ascii:
            # Characters are escaped and not replaced, so that node ids and commands stay recognisable.
            glyph = _IN_ASCII.get(glyph, glyph)
            text = text.encode("ascii", "backslashreplace").decode()
        return f"{now - self._begun:6.1f} s  {glyph} {text}"

    def _update_display(self) -> None:
        """Start the display if a step runs or a table is shown, and stop it otherwise."""
        if self._console is None:
            return
        with suppress(OSError, ValueError):
            wanted = bool(self._displayed or self._table)
            if wanted and self._live is None:
                self._live = Live(
                    get_renderable=self._display,
                    console=self._console,
                    refresh_per_second=_REFRESHES_PER_SECOND,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._live.start(refresh=True)
            elif not wanted and self._live is not None:
                live, self._live = self._live, None
                live.stop()

    def _display(self) -> RenderableType:
        # Taken once: another thread may end it meanwhile.
        table = self._table
        steps = [self._running_steps()] if self._displayed else []
        return Group(*([table()] if table else []), *steps)

    def _running_steps(self) -> RenderableType:
        now = self._clock()
        running = [
            self._formatted(now, _RUNNING, f"{step.label} ({now - step.begun:.0f} s)") for step in self._displayed
        ]
        return Text("\n".join(running), _STYLES[_RUNNING], no_wrap=True, overflow="crop")

    def _start_heartbeats(self) -> None:
        if self._heartbeats is None:
            self._closed.clear()
            self._heartbeats = threading.Thread(target=self._beat_until_closed, name="heartbeat", daemon=True)
            self._heartbeats.start()

    def _beat_until_closed(self) -> None:
        while not self._closed.wait(self._heartbeat / 8):
            self._beat_if_due()

    def _beat_if_due(self) -> None:
        with self._lock:
            now = self._clock()
            if self._running and self._live is None and now - self._last_line >= self._heartbeat:
                running = (f"{step.label} ({now - step.begun:.0f} s)" for step in self._running)
                self._line(_RUNNING, f"still: {', '.join(running)}")


def _label(text: str, cluster: str | None) -> str:
    return f"[{cluster}] {text}" if cluster else text


def _can_encode(encoding: str | None) -> bool:
    try:
        f"{_RUNNING}{_DONE}{_FAILED}".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
