"""Removes what killed runs left: only what a dead run's own record names."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from splithorizon import pending
from splithorizon.durations import current as durations
from splithorizon.errors import EnvironmentBroke
from splithorizon.journal import RECORD, Entry, Journal, dead_journals, kept_journals, runs_folder
from splithorizon.waiting import NotYet, eventually

_FIRST_WORD = 60.0  # seconds from a run's folder to its record: a millisecond, on a good day


def sweep(base: Path | None, remove: Callable[[Entry], None]) -> Iterator[str]:
    """Undo every dead run's entries, last first; yield what went, and what could not go and why.

    A record goes last, and stays where anything could not go, so a sweep can be repeated. First of all, what a run had
    changed in a mesh that outlives it is given back.
    """
    base = base or runs_folder()
    with _alone(base):
        for journal in kept_journals(base):
            yield from (line for line, _ in _give_back(journal))
        for journal in dead_journals(base):
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
    for undo, take in pending.left_in(journal.folder):
        try:
            take()
        except EnvironmentBroke as problem:
            yield f"{undo} is as a run left it that was killed: {problem}", False
        else:
            yield f"gave back {undo}", True


def sweep_kept(base: Path | None, stands: Callable[[Entry], bool]) -> Iterator[str]:
    """Forget every kept run of which nothing stands any more; yield its folder, or why it cannot be told.

    A person removed its clusters: only the run's own folder, with kubeconfigs that lead nowhere, is left.
    """
    base = base or runs_folder()
    with _alone(base):
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
def _alone(base: Path) -> Iterator[None]:
    """Two sweeps of the same remains would trip over each other; the lock leaves no file."""
    descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY)

    def take() -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotYet(f"another process sweeps {base}") from None

    try:
        eventually("the sweep is ours to do", take, within=durations().other_sweep)
        yield
    finally:
        os.close(descriptor)
