"""Files that are written whole or not at all; by default only their user may read them, from the first byte on."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600
SHARED = 0o666
"""As any program writes a file: the user's umask decides."""


def write(path: Path, text: str, *, mode: int = PRIVATE) -> None:
    """Write a file so that a reader sees the old text or the new one, also after a kill or a power cut.

    Raises OSError, with the old file untouched, where it cannot be written: a full disk, for one.
    """
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Make the new name durable; some network file systems have no such call for folders."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
