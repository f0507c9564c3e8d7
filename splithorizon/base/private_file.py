"""Writes files atomically, by default readable by their user alone from the first byte on."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600
SHARED = 0o666
"""The usual mode of a new file, from which the user's umask is subtracted."""


def write(path: Path, text: str, *, mode: int = PRIVATE) -> None:
    """Replace a file atomically: a reader gets the old text or the new text, also after SIGKILL or a power cut.

    Raises OSError where the file cannot be written, for example on a full disk; the old file stays as it was.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Make the new directory entry durable; some network file systems cannot sync a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
