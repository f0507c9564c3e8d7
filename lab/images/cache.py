"""The build cache. Each entry is a folder, named by a hash of everything that goes into it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from splithorizon.base import file_lock, folders, private_file
from splithorizon.base.timeouts import current as timeouts

_UNFINISHED = ".half-"


def root() -> Path:
    """The cache's folder. It is created, private to the user, if it is missing."""
    folder = folders.cache()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def digest(*parts: str | Path) -> str:
    """Hash texts, files and folders (names, modes and contents) into sixteen hexadecimal digits."""
    hashed = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            hashed.update(b"text\0" + part.encode() + b"\0")
            continue
        for file in _files(part):
            executable = os.access(file, os.X_OK)
            hashed.update(f"file\0{file.relative_to(part.parent)}\0{executable}\0".encode())
            hashed.update(file.read_bytes())
    return hashed.hexdigest()[:16]


def _files(part: Path) -> list[Path]:
    if not part.is_dir():
        return [part]
    return sorted(file for file in part.rglob("*") if file.is_file())


class Cache:
    """Named entries, each a folder that gets its name only when it is complete."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """Store entries in ``folder``. ``say`` is called when another process holds the lock of an entry."""
        self._folder = folder
        self._say = say

    def find(self, name: str, key: str) -> Path | None:
        """The folder of a finished entry, or None."""
        entry = self._folder / f"{name}-{key}"
        return entry if entry.is_dir() else None

    def fill(self, name: str, key: str, make: Callable[[Path], None]) -> Path:
        """Return an entry. If it is missing, ``make`` fills a temporary folder that then becomes the entry.

        A second process that wants the same entry waits. A process that is killed within ``make`` leaves no entry; the
        next call removes its temporary folder. Raises TimedOut if the other process takes too long.
        """
        if entry := self.find(name, key):
            return entry
        with self._locked(name):
            if entry := self.find(name, key):
                return entry
            unfinished = self._folder / f"{_UNFINISHED}{name}"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(mode=0o700)
            make(unfinished)
            entry = self._folder / f"{name}-{key}"
            unfinished.rename(entry)
            return entry

    def sweep(self, keep: set[Path]) -> Iterator[tuple[Path, int]]:
        """Remove every entry but ``keep``, and unfinished ones; yield each with its size in bytes."""
        for entry in sorted(self._folder.iterdir()):
            if not entry.is_dir() or entry in keep:
                continue
            name = entry.name.removeprefix(_UNFINISHED) if entry.name.startswith(_UNFINISHED) else None
            with self._locked(name or entry.name.rsplit("-", 1)[0]):
                # An unfinished entry has got its name if we have waited for its builder.
                if not entry.exists():
                    continue
                freed = size(entry)
                self._remove(entry)
            yield entry, freed

    def remove(self, name: str, key: str) -> None:
        """Remove a finished entry if there is one. If this process is killed meanwhile, no partial entry stays."""
        with self._locked(name):
            if entry := self.find(name, key):
                self._remove(entry)

    def _remove(self, entry: Path) -> None:
        # A process that is killed here must not leave a partial entry under a valid name.
        if not entry.name.startswith(_UNFINISHED):
            unfinished = self._folder / f"{_UNFINISHED}{entry.name.rsplit('-', 1)[0]}"
            shutil.rmtree(unfinished, ignore_errors=True)
            entry = entry.rename(unfinished)
        shutil.rmtree(entry)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        lock = self._folder / f".{name}.lock"
        lock.touch(mode=private_file.PRIVATE)
        with file_lock.exclusive(
            lock,
            claim=f"no other process is building {name}",
            busy=f"another process is building {name}",
            within=timeouts().other_build,
            on_wait=lambda: self._say(f"another process is building {name}: waiting for it"),
        ):
            yield


def size(folder: Path) -> int:
    """The size in bytes of all files in a folder and its subfolders."""
    return sum(p.lstat().st_size for p in folder.rglob("*") if not p.is_dir())
