"""What was built once is found again: entries named by a hash of everything that goes into them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from splithorizon.base import folders
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually

_HALF = ".half-"


def root() -> Path:
    """The cache's folder, made private to the user on first use."""
    folder = folders.cache()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def digest(*parts: str | Path) -> str:
    """Hash texts, files and folders (names, modes and contents) into sixteen hexadecimal digits."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(b"text\0" + part.encode() + b"\0")
            continue
        files = sorted(p for p in part.rglob("*") if p.is_file()) if part.is_dir() else [part]
        for file in files:
            executable = os.access(file, os.X_OK)
            total.update(f"file\0{file.relative_to(part.parent)}\0{executable}\0".encode())
            total.update(file.read_bytes())
    return total.hexdigest()[:16]


class Cache:
    """Entries are folders; one appears under its name only once it is whole."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """Keep entries below ``folder``; ``say`` tells the user when another build is waited for."""
        self._folder = folder
        self._say = say

    def find(self, name: str, key: str) -> Path | None:
        """The folder of a finished entry, or None."""
        entry = self._folder / f"{name}-{key}"
        return entry if entry.is_dir() else None

    def fill(self, name: str, key: str, make: Callable[[Path], None]) -> Path:
        """Return the entry, made by ``make`` in a folder of its own where it was not there yet.

        Two processes that want the same entry wait for each other; one that dies half-way leaves
        nothing under the entry's name, and its remains go when the next one begins.
        """
        if found := self.find(name, key):
            return found
        with self._alone(name):
            if found := self.find(name, key):
                return found
            half = self._folder / f"{_HALF}{name}"
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir(mode=0o700)
            make(half)
            entry = self._folder / f"{name}-{key}"
            half.rename(entry)
            return entry

    def sweep(self, keep: set[Path]) -> Iterator[tuple[Path, int]]:
        """Remove every entry but ``keep`` and every half-made one; yield each with its size in bytes."""
        for entry in sorted(self._folder.iterdir()):
            if not entry.is_dir() or entry in keep:
                continue
            name = entry.name.removeprefix(_HALF) if entry.name.startswith(_HALF) else None
            with self._alone(name or entry.name.rsplit("-", 1)[0]):
                # A half-made one has become an entry where its builder was waited for.
                if not entry.exists():
                    continue
                freed = size(entry)
                self._remove(entry)
            yield entry, freed

    def remove(self, name: str, key: str) -> None:
        """Remove a finished entry; fine where there is none, and whole or gone where it is killed."""
        with self._alone(name):
            if entry := self.find(name, key):
                self._remove(entry)

    def _remove(self, entry: Path) -> None:
        # A removal that is killed must not leave half an entry under a valid name.
        if not entry.name.startswith(_HALF):
            half = self._folder / f"{_HALF}{entry.name.rsplit('-', 1)[0]}"
            shutil.rmtree(half, ignore_errors=True)
            entry = entry.rename(half)
        shutil.rmtree(entry)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        descriptor = os.open(self._folder / f".{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        told = False

        def take() -> None:
            nonlocal told
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    self._say(f"another process is building {name}: waiting for it")
                    told = True
                raise NotYet(f"{name} is being built by another process") from None

        try:
            eventually(f"{name} is free to be built", take, within=timeouts().other_build)
            yield
        finally:
            os.close(descriptor)


def size(folder: Path) -> int:
    """Bytes that the files below a folder take."""
    return sum(p.lstat().st_size for p in folder.rglob("*") if not p.is_dir())
