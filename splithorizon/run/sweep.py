"""What killed runs left, as far as it can be said without making or removing clusters."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from splithorizon.base import file_lock
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.run.journal import RECORD, Entry, Journal, dead_journals, kept_journals, runs_folder, unreadable
from splithorizon.undo import undo_log
from splithorizon.undo.ownership import Scope

_FIRST_WORD = 60.0  # seconds from a run's folder to its record: a millisecond, on a good day


def report_remains(base: Path | None = None) -> Iterator[str]:
    """Say what ended runs left in existing meshes, with the command that restores each; nothing is written there.

    Records that name nothing any more go, and so do folders of runs that never began. What runs with clusters of their
    own left is only named here, because removing it takes the tools that make clusters.
    """
    base = base or runs_folder()
    with only_sweep(base):
        yield from unreadable(base)
        for journal in [*kept_journals(base), *dead_journals(base)]:
            if on_existing_mesh(journal):
                yield from left_in_mesh(journal)
            elif journal.dead:
                made = ", ".join(f"{entry.kind} {entry.name}" for entry in journal.entries) or "nothing"
                yield f"run {journal.run} made {made}: remove it with `pytest --sweep` in a checkout"
        remove_stillborn(base)


def on_existing_mesh(journal: Journal) -> bool:
    """Whether a run worked on a mesh that is not this suite's; also where its own record of that is half-written."""
    try:
        scope = Scope.read(journal.folder)
    except EnvironmentBroke:
        return True
    return not scope.owned if scope else any(entry.kind == "namespace" for entry in journal.entries)


def left_in_mesh(journal: Journal) -> Iterator[str]:
    """Say what a dead run left in an existing mesh, and the command that restores it; nothing is written there.

    The record of one that left nothing goes.
    """
    left = [_named(entry) for entry in undo_log.pending_in(journal.folder)]
    left += [f"{_kind_of(entry)} {entry.name} of the {entry.facts.get('cluster', '')}" for entry in journal.entries]
    try:
        scope = Scope.read(journal.folder)
    except EnvironmentBroke as problem:
        yield f"{problem}: the run's folder stays"
        return
    if not left:
        journal.close()
        yield f"removed run folder {journal.folder}"
        return
    yield f"run {journal.run} left in an existing mesh: {', '.join(left)}. Nothing is written there now"
    if scope:
        yield f"restore it with: {scope.restore_command}"
    if scope and scope.labels:
        yield f"or remove its objects in namespace {scope.namespace} alone with: {scope.removal_command}"


def _kind_of(entry: Entry) -> str:
    return "objects in namespace" if entry.kind == "objects" else entry.kind


def _named(entry: undo_log.Pending) -> str:
    try:
        return f"{entry.change}, changed"
    except EnvironmentBroke as problem:
        return str(problem)


def remove_stillborn(base: Path) -> None:
    """Remove the folders of runs that were killed before their first word: nothing else is in."""
    for folder in base.iterdir():
        with suppress(FileNotFoundError):
            old = time.time() - folder.stat().st_mtime > _FIRST_WORD
            if old and folder.is_dir() and not (folder / RECORD).exists():
                shutil.rmtree(folder, ignore_errors=True)


def only_sweep(base: Path) -> AbstractContextManager[None]:
    """Keep other sweeps of the same folder out: two would disturb each other. The lock leaves no file.

    Raises TimedOut if another sweep takes too long.
    """
    return file_lock.exclusive(
        base,
        claim=f"no other process sweeps {base}",
        busy=f"another process sweeps {base}",
        within=timeouts().other_sweep,
    )
