"""Cancels a run: ends the child processes that run, and refuses to start others."""

from __future__ import annotations

import contextvars
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol, TypeVar

from splithorizon.base.errors import Cancelled

GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""


class Stoppable(Protocol):
    """A running child process, registered by ``enter`` until ``leave`` removes it."""

    def signal(self, number: int) -> None:
        """Send a signal to its process group."""

    def ended(self, within: float) -> bool:
        """Wait at most ``within`` seconds for its end; return whether it ended."""


S = TypeVar("S", bound=Stoppable)

_lock = threading.Lock()
_running: set[Stoppable] = set()
_cancelled = threading.Event()
_RAISING = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
_cleaning = contextvars.ContextVar("cleaning", default=False)


def enter(start: Callable[[], S]) -> S:
    """Start a child process and register it, so that ``cancel_all`` ends it; raise Cancelled if the run is cancelled.

    Holds the lock of ``cancel_all``: a process is either refused here or registered there.
    """
    with _lock:
        raise_if_cancelled()
        started = start()
        if not _cleaning.get():
            _running.add(started)
        return started


def leave(process: Stoppable) -> None:
    """Remove a child process: ``cancel_all`` sends it no signal from now on."""
    with _lock:
        _running.discard(process)


def cancel_all() -> None:
    """End every registered child process, and refuse to start others outside of ``cleaning_up``."""
    with _lock:
        _cancelled.set()
        for process in _running:
            process.signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        for process in _running:
            process.ended(deadline - time.monotonic())
            process.signal(signal.SIGKILL)


def uncancel() -> None:
    """Let processes be started again, once those that ``cancel_all`` ended are gone."""
    _cancelled.clear()


def raise_if_cancelled() -> None:
    """Raise Cancelled if the run is cancelled, except inside ``cleaning_up``."""
    if _cancelled.is_set() and not _cleaning.get():
        raise Cancelled("the run is being stopped")


@contextmanager
def cleaning_up() -> Iterator[None]:
    """Let this thread, and the threads that it starts by ``parallel``, start processes that are never cancelled."""
    token = _cleaning.set(True)
    try:
        yield
    finally:
        _cleaning.reset(token)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Defer SIGINT, SIGTERM and SIGALRM to the end of the block, which must be short: it starts or ends a process.

    An interrupt between the start of a process and its assignment to a variable would lose the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs the handlers of signals in its main thread only.
        return
    received: set[int] = set()

    def raise_deferred(number: int) -> None:
        if number in received:
            signal.raise_signal(number)

    with ExitStack() as undo:
        # The last exception raised replaces the earlier ones: Ctrl-C must replace the alarm of a test's timeout.
        for number in _RAISING:
            undo.callback(raise_deferred, number)
        for number in _RAISING:
            if (handler := signal.getsignal(number)) not in (None, signal.SIG_IGN):
                undo.callback(signal.signal, number, handler)
                signal.signal(number, lambda number, _: received.add(number))
        yield
