"""Removes what killed runs left: only what a dead run's own record names."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.run.journal import RECORD, Entry, Journal, dead_journals, kept_journals, runs_folder, unreadable
from splithorizon.undo import undo_log
from splithorizon.undo.ownership import Scope

_FIRST_WORD = 60.0  # seconds from a run's folder to its record: a millisecond, on a good day


def sweep(base: Path | None, remove: Callable[[Entry], None]) -> Iterator[str]:
    """Undo every dead run's entries, last first; yield what went, and what could not go and why.

    A record goes last, and stays where anything could not go, so a sweep can be repeated. First of all, what a run had
    changed in clusters that it kept is given back. An existing mesh is only spoken of: what restores it is
    ``mesh_sweep``, which its owner asks for.
    """
    base = base or runs_folder()
    with alone(base):
        yield from unreadable(base)
        for journal in kept_journals(base):
            yield from (
                left_in_mesh(journal) if on_existing_mesh(journal) else (line for line, _ in _give_back(journal))
            )
        for journal in dead_journals(base):
            if on_existing_mesh(journal):
                yield from left_in_mesh(journal)
                continue
            gone = True
            if not any(entry.kind == "cluster" for entry in journal.entries):
                for line, given_back in _give_back(journal):
                    gone = gone and given_back
                    yield line
            for entry in reversed(journal.entries):
                try:
                    remove(entry)
                except EnvironmentBroke as problem:
                    gone = False
                    yield f"{entry.kind} {entry.name} stays: {problem}"
                else:
                    yield f"removed {entry.kind} {entry.name}"
            if gone:
                journal.close()
                yield f"removed run folder {journal.folder}"
        _remove_stillborn(base)


def _give_back(journal: Journal) -> Iterator[tuple[str, bool]]:
    """Take a run's pending changes back; yield what is said of each, and whether it is as it was."""
    for entry in undo_log.pending_in(journal.folder):
        try:
            change = entry.change
            entry.undo()
        except EnvironmentBroke as problem:
            yield f"not given back: {problem}", False
        else:
            yield f"gave back {change}", True


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
    left += [f"namespace {entry.name} of the {entry.facts['role']}" for entry in journal.entries]
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


def _named(entry: undo_log.Pending) -> str:
    try:
        return f"{entry.change}, changed"
    except EnvironmentBroke as problem:
        return str(problem)


def sweep_kept(base: Path | None, stands: Callable[[Entry], bool]) -> Iterator[str]:
    """Forget every kept run of which nothing stands any more; yield its folder, or why it cannot be told.

    A person removed its clusters: only the run's own folder, with kubeconfigs that lead nowhere, is left.
    """
    base = base or runs_folder()
    with alone(base):
        for journal in kept_journals(base):
            try:
                forgotten = _forget(journal, stands)
            except EnvironmentBroke as problem:
                yield f"run folder {journal.folder} stays: {problem}"
            else:
                if forgotten:
                    yield f"removed run folder {journal.folder}: the clusters that it kept are gone"


def _forget(journal: Journal, stands: Callable[[Entry], bool]) -> bool:
    if any(stands(entry) for entry in journal.entries):
        return False
    journal.close()
    return True


def _remove_stillborn(base: Path) -> None:
    """Remove the folders of runs that were killed before their first word: nothing else is in."""
    for folder in base.iterdir():
        with suppress(FileNotFoundError):
            old = time.time() - folder.stat().st_mtime > _FIRST_WORD
            if old and folder.is_dir() and not (folder / RECORD).exists():
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def alone(base: Path) -> Iterator[None]:
    """Sweep alone: two sweeps of the same remains would disturb each other; the lock leaves no file."""
    descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY)

    def take() -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotYet(f"another process sweeps {base}") from None

    try:
        eventually("the sweep is ours to do", take, within=timeouts().other_sweep)
        yield
    finally:
        os.close(descriptor)
