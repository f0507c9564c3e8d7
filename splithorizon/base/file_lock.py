"""A lock on a file or a folder, among processes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from splithorizon.base import private_file


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """Hold ``how`` of fcntl on what is there; the kernel gives it back whatever becomes of its holder.

    Raises BlockingIOError where ``how`` does not wait and another holds it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def held(file: Path, how: int) -> Iterator[None]:
    """Hold ``how`` of fcntl on a file, which is made where it is not there; waits for whoever holds it."""
    # Never replaced: a lock belongs to the file that was opened, not to its name.
    file.touch(mode=private_file.PRIVATE)
    with locked(file, how):
        yield
