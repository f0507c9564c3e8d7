"""Locks a file or a folder against other processes (``flock``)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from splithorizon.base import private_file
from splithorizon.base.waiting import NotYet, eventually


@contextmanager
def locked(path: Path, operation: int) -> Iterator[None]:
    """Hold a lock on a file or folder that exists; the kernel releases it when the process ends.

    ``operation`` is that of ``fcntl.flock``. With ``LOCK_NB`` it raises BlockingIOError while another process holds the
    lock; without, it waits.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def held(file: Path, operation: int) -> Iterator[None]:
    """Hold a lock on a file as ``locked`` does; create the file if it does not exist."""
    # The file must not be replaced: a lock belongs to the inode, not to the name.
    file.touch(mode=private_file.PRIVATE)
    with locked(file, operation):
        yield


@contextmanager
def exclusive(
    path: Path, *, claim: str, busy: str, within: float, on_wait: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold an exclusive lock on a file or folder that exists; wait at most ``within`` seconds for it.

    ``claim`` says that the lock is free, ``busy`` that another process holds it. ``on_wait`` is called once, if the
    lock is not free at first. Raises TimedOut with both texts, and Cancelled if the run is cancelled.
    """
    waits = False

    def acquire() -> None:
        nonlocal waits
        try:
            lock.enter_context(locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except BlockingIOError:
            if not waits:
                waits = True
                on_wait()
            raise NotYet(busy) from None

    with ExitStack() as lock:
        eventually(claim, acquire, within=within)
        yield
