"""Identifies a process by its id and its start time, on every operating system."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

# Two processes never have the same id within this many seconds; the compared clocks differ by less.
_SAME_START = 1.0


@dataclass(frozen=True)
class Identity:
    """The start of a process and the boot of the machine, in seconds since 1970."""

    started: float
    boot: float


def identity(pid: int) -> Identity | None:
    """The identity of the process that has this id; None if no process has it, or only a zombie."""
    try:
        process = psutil.Process(pid)
        if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
            return None
        return Identity(process.create_time(), psutil.boot_time())
    except psutil.NoSuchProcess:
        return None


def is_running(pid: int, known: Identity | None) -> bool:
    """Whether the process with this id still has the identity ``known``; if that is None, whether any process has it.

    Setting the clock moves the start since 1970 (Linux) or the start since boot (macOS), but never both. One match is
    enough, so that a running process is never taken for dead.
    """
    now = identity(pid)
    if now is None or known is None:
        return now is not None
    by_clock = abs(now.started - known.started)
    after_boot = abs((now.started - now.boot) - (known.started - known.boot))
    return min(by_clock, after_boot) <= _SAME_START
