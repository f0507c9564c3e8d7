"""Which process is which, on every system: by its id and the time of its start."""

from __future__ import annotations

import psutil

# Two processes cannot have one id within this many seconds; the clocks that are compared differ by less.
_SAME_START = 1.0


def started(pid: int) -> dict[str, float] | None:
    """When a process started, as an identity that can be stored; None where none runs under that id.

    ``clock`` is in seconds since 1970, ``after_boot`` in seconds since the machine's start.
    """
    try:
        process = psutil.Process(pid)
        if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
            return None
        clock = process.create_time()
    except psutil.NoSuchProcess:
        return None
    return {"clock": clock, "after_boot": clock - psutil.boot_time()}


def is_running(pid: int, identity: object) -> bool:
    """Whether the process with this id is still the one that had this identity.

    A clock that is set moves one of the two times, on Linux ``clock`` and on macOS ``after_boot``: the other one
    decides then, so that a run that goes on is never taken for a dead one.
    """
    now = started(pid)
    if now is None or not isinstance(identity, dict):
        # What an earlier version wrote down cannot be compared: as long as the id is taken, it may be that run.
        return now is not None
    return any(abs(now[name] - identity[name]) <= _SAME_START for name in now if name in identity)
