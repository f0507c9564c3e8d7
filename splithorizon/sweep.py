"""Removes what killed runs left: only what a dead run's own record names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from splithorizon.journal import Entry, dead_journals


def sweep(base: Path | None, remove: Callable[[Entry], None]) -> Iterator[str]:
    """Undo every dead run's entries, last first; yield what went. A record goes last, so a sweep can be repeated."""
    for journal in dead_journals(base):
        for entry in reversed(journal.entries):
            remove(entry)
            yield f"{entry.kind} {entry.name}"
        journal.close()
        yield f"run folder {journal.folder}"
