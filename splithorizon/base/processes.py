"""Which process is which, on every system: by its id and the time of its start."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

# Two processes cannot have one id within this many seconds; the clocks that are compared differ by less.
_SAME_START = 1.0


@dataclass(frozen=True)
class Identity:
    """A process beside its id: when it started, and when the machine did, in seconds since 1970."""

    started: float
    boot: float


def identity(pid: int) -> Identity | None:
    """The identity of the process that runs under an id; None where none does."""
    try:
        process = psutil.Process(pid)
        if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
            return None
        return Identity(process.create_time(), psutil.boot_time())
    except psutil.NoSuchProcess:
        return None


def is_running(pid: int, known: Identity | None) -> bool:
    """Whether the process with this id is still the one that had this identity; as long as any is, if that is None.

    A clock that is set moves the start in seconds since 1970 (on Linux) or since boot (on macOS), never both: the other
    one decides then, so that a run that goes on is not taken for a dead one.
    """
    now = identity(pid)
    if now is None or known is None:
        return now is not None
    by_clock = abs(now.started - known.started)
    after_boot = abs((now.started - now.boot) - (known.started - known.boot))
    return min(by_clock, after_boot) <= _SAME_START
