"""Files of a run that nobody but its user reads, from their first byte on."""

from __future__ import annotations

from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write a file of mode 0600; one that is there keeps the mode it has."""
    path.touch(mode=0o600)
    path.write_text(text)
