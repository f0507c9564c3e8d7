"""Counts the reads of API servers that were repeated, for the report; every process of a run writes to its folder."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

_FILE = "repeated-reads"


def note(folder: Path, cluster: str) -> None:
    """Count one repetition; a full disk must not end a run."""
    with suppress(OSError):
        # Short lines at the end of a file are written whole, also by several processes.
        descriptor = os.open(folder / _FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{cluster}\n")


def counted(folder: Path) -> dict[str, int]:
    """How many reads were repeated so far, by cluster."""
    try:
        return dict(Counter((folder / _FILE).read_text().split()))
    except FileNotFoundError:
        return {}
