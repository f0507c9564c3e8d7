"""What a run is about to create, written down first, so that another can remove it after a kill."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from splithorizon.base import folders, private_file, processes
from splithorizon.base.errors import EnvironmentBroke, UsageProblem

RECORD = "run.json"
_FACTS = frozenset({"run", "host", "boot", "pid", "started", "keep", "entries"})


@dataclass(frozen=True)
class Entry:
    """One thing that a run creates outside its own folder."""

    kind: str
    name: str
    facts: Mapping[str, str] = field(default_factory=dict)


def runs_folder() -> Path:
    """Where this user's runs have their folders, made private on first use.

    Not below XDG_RUNTIME_DIR, which goes with the login while kept clusters stay. Raises
    UsageProblem where the folder is not the user's alone: who writes there says what is swept.
    """
    return private_folder("runs")


def private_folder(name: str) -> Path:
    """A folder in this user's state, made private on first use.

    Raises UsageProblem where it is not the user's alone.
    """
    folder = folders.state() / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageProblem(
            f"no folder for the run's own files: {error}; name a writable one with XDG_STATE_HOME. Nothing was created."
        ) from None
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise UsageProblem(f"{folder} must be this user's alone: chmod 700 {folder}. Nothing was created.")
    return folder


class Journal:
    """The folder of one run and its record of what it makes."""

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        """Use ``open`` or ``read`` instead."""
        self.folder = folder
        self._record = record
        self._lock = threading.Lock()

    @classmethod
    def open(cls, run_id: str, base: Path | None = None) -> Journal:
        """Begin a run's record, before anything is created."""
        folder = (base or runs_folder()) / run_id
        folder.mkdir(mode=0o700)
        journal = cls(folder, {"run": run_id, **_this_process(), "keep": False, "entries": []})
        journal._write()
        return journal

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """Read another run's record; raises EnvironmentBroke where a file is there that is none."""
        file = folder / RECORD
        try:
            record = json.loads(file.read_text())
            if not isinstance(record, dict) or not record.keys() >= _FACTS:
                raise ValueError(f"it lacks {', '.join(sorted(_FACTS - set(record)))}")
            [Entry(**entry) for entry in record["entries"]]
        except (ValueError, TypeError, PermissionError, IsADirectoryError) as error:
            raise EnvironmentBroke(f"{file} cannot be read, and its folder stays", seen=str(error)) from None
        return cls(folder, record)

    @property
    def run(self) -> str:
        """The run's id."""
        return str(self._record["run"])

    @property
    def entries(self) -> list[Entry]:
        """What the run was about to create, in that order."""
        return [Entry(**entry) for entry in self._record["entries"]]

    @property
    def dead(self) -> bool:
        """Whether the run's process is gone, and what it made was not to be kept.

        What runs on another host that shares this folder cannot be seen, so it counts as alive.
        """
        return self._ended and not self._record["keep"]

    @property
    def kept(self) -> bool:
        """Whether the run's process is gone, as in ``dead``, and what it made was to be kept."""
        return self._ended and bool(self._record["keep"])

    @property
    def _ended(self) -> bool:
        record = self._record
        here = record["host"] == socket.gethostname()
        return here and not processes.is_running(record["pid"], _identity(record))

    def will_create(self, kind: str, name: str, /, **facts: str) -> None:
        """Note, durably, what is about to be created; steps that run side by side may."""
        with self._lock:
            self._record["entries"].append({"kind": kind, "name": name, "facts": facts})
            self._write()

    @contextmanager
    def passing(self, kind: str, name: str, /, **facts: str) -> Iterator[None]:
        """Note what is created and gone again within the block: only a run that is killed there leaves it."""
        self.will_create(kind, name, **facts)
        yield
        with self._lock:
            self._record["entries"].remove({"kind": kind, "name": name, "facts": facts})
            self._write()

    def keep(self) -> None:
        """Note that what was created outlives the run on purpose."""
        with self._lock:
            self._record["keep"] = True
            self._write()

    def close(self) -> None:
        """Remove the run's folder, keys and kubeconfigs with it; the record goes last."""
        for path in self.folder.glob("*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != RECORD:
                path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self) -> None:
        private_file.write(self.folder / RECORD, json.dumps(self._record, indent=1))


def dead_journals(base: Path | None = None) -> list[Journal]:
    """The records of runs that ended without closing them, oldest first."""
    return [journal for journal in _journals(base) if journal.dead]


def kept_journals(base: Path | None = None) -> list[Journal]:
    """The records of runs that ended and kept what they made, oldest first."""
    return [journal for journal in _journals(base) if journal.kept]


def _journals(base: Path | None) -> Iterator[Journal]:
    for folder in sorted((base or runs_folder()).iterdir()):
        # A run that ends just now takes its record away, and one that begins has none yet. What cannot be read is
        # named by ``unreadable``.
        with suppress(FileNotFoundError, NotADirectoryError, EnvironmentBroke):
            yield Journal.read(folder)


def unreadable(base: Path | None = None) -> Iterator[str]:
    """One line for each record that a full disk, or anything else, left in pieces."""
    for folder in sorted((base or runs_folder()).iterdir()):
        with suppress(FileNotFoundError, NotADirectoryError):
            try:
                Journal.read(folder)
            except EnvironmentBroke as problem:
                yield str(problem)


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    own = processes.identity(pid)
    if own is None:
        raise EnvironmentBroke(f"this process, {pid}, is not among those of the machine")
    return {"host": socket.gethostname(), "boot": own.boot, "pid": pid, "started": own.started}


def _identity(record: Mapping[str, Any]) -> processes.Identity | None:
    """The identity of a run's process; None in a record of an earlier version, which has texts there."""
    started, boot = record["started"], record["boot"]
    return processes.Identity(started, boot) if isinstance(started, float) and isinstance(boot, float) else None
