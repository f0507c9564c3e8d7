"""How a run is stopped from wherever it is: what runs is ended, and nothing new is begun."""

from __future__ import annotations

import contextvars
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from typing import Protocol, TypeVar

from splithorizon.base.errors import Cancelled

T = TypeVar("T")

GRACE = 2.0
"""Seconds between asking a program to end and ending it."""


class Stoppable(Protocol):
    """A running program, until it is given to ``leave``."""

    def signal(self, number: int) -> None:
        """Send a signal to all of it."""

    def ended(self, within: float) -> bool:
        """Whether it ends within so many seconds."""


S = TypeVar("S", bound=Stoppable)

_lock = threading.Lock()
_running: set[Stoppable] = set()
_cancelled = threading.Event()
_RAISING = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
_cleaning = contextvars.ContextVar("cleaning", default=False)


def enter(start: Callable[[], S]) -> S:
    """Start a program unless the run is being stopped; cancel_all ends it from then on.

    One lock with cancel_all: a program is either refused here or known there.
    """
    with _lock:
        raise_if_cancelled()
        begun = start()
        if not _cleaning.get():
            _running.add(begun)
        return begun


def leave(program: Stoppable) -> None:
    """Let go of a program: from here on cancel_all sends it nothing."""
    with _lock:
        _running.discard(program)


def cancel_all() -> None:
    """Stop every running program, and refuse to start others; ``cleaning_up`` is exempt."""
    with _lock:
        _cancelled.set()
        for program in _running:
            program.signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        for program in _running:
            program.ended(deadline - time.monotonic())
            program.signal(signal.SIGKILL)


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


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a Ctrl-C, SIGTERM or alarm that comes meanwhile take effect at the end; for no longer than a program's end.

    Between the start of a program and the name that it gets here, an interrupt would lose it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs the handlers of signals in its main thread only.
        return
    came: set[int] = set()

    def take_effect(number: int) -> None:
        if number in came:
            signal.raise_signal(number)

    with ExitStack() as undo:
        # The last to be raised prevails: a Ctrl-C over an alarm, which is how a test ends whose time is up.
        for number in _RAISING:
            undo.callback(take_effect, number)
        for number in _RAISING:
            if (handler := signal.getsignal(number)) not in (None, signal.SIG_IGN):
                undo.callback(signal.signal, number, handler)
                signal.signal(number, lambda number, _: came.add(number))
        yield


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
        try:
            begun = {
                name: pool.submit(contextvars.copy_context().run, attempt, name, step) for name, step in steps.items()
            }
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
