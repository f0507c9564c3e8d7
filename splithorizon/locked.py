"""A lock on a file or a folder, among processes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
