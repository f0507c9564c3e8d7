"""The journal of a run: what it is about to create, recorded first, so that a later run can remove it after a kill."""

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
_FIELDS = frozenset({"run", "host", "boot", "pid", "started", "keep", "entries"})


@dataclass(frozen=True)
class Entry:
    """Something that a run creates outside its folder: a cluster, a network, a container, a namespace."""

    kind: str
    name: str
    facts: Mapping[str, str] = field(default_factory=dict)


def runs_folder() -> Path:
    """The folder that holds the folders of this user's runs. It is created, private to the user, if it is missing.

    It is not in XDG_RUNTIME_DIR, which is removed at logout while kept clusters stay. Raises UsageProblem if other
    users can write to the folder, because its content decides what a sweep removes.
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
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise UsageProblem(f"{folder} must be this user's alone: chmod 700 {folder}. Nothing was created.")
    return folder


class Journal:
    """A run's folder, and in it the record of what the run creates."""

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        """Use ``open`` or ``read`` instead."""
        self.folder = folder
        self._record = record
        self._lock = threading.Lock()

    @classmethod
    def open(cls, run_id: str, base: Path | None = None) -> Journal:
        """Create the folder and the record of this run, before anything else is created."""
        folder = (base or runs_folder()) / run_id
        folder.mkdir(mode=0o700)
        journal = cls(folder, {"run": run_id, **_this_process(), "keep": False, "entries": []})
        journal._write()
        return journal

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """Read the record of a run. Raises EnvironmentBroke if it is damaged, FileNotFoundError if it is missing."""
        file = folder / RECORD
        try:
            record = json.loads(file.read_text())
            if not isinstance(record, dict) or not record.keys() >= _FIELDS:
                raise ValueError(f"it lacks {', '.join(sorted(_FIELDS - set(record)))}")
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
        """What the run was about to create, in the order of creation."""
        return [Entry(**entry) for entry in self._record["entries"]]

    @property
    def dead(self) -> bool:
        """Whether the run's process has ended, and the run did not keep what it created.

        A run on another host that shares this folder counts as alive, because its process cannot be seen from here.
        """
        return self._ended and not self._record["keep"]

    @property
    def kept(self) -> bool:
        """Whether the run's process has ended, as in ``dead``, and the run kept what it created."""
        return self._ended and bool(self._record["keep"])

    @property
    def keeps(self) -> bool:
        """Whether the run keeps what it created, as far as is decided."""
        return bool(self._record["keep"])

    @property
    def _ended(self) -> bool:
        record = self._record
        on_this_host = record["host"] == socket.gethostname()
        return on_this_host and not processes.is_running(record["pid"], _identity(record))

    def will_create(self, kind: str, name: str, /, **facts: str) -> None:
        """Record durably what is about to be created. Concurrent steps may call this."""
        with self._lock:
            self._record["entries"].append({"kind": kind, "name": name, "facts": facts})
            self._write()

    @contextmanager
    def passing(self, kind: str, name: str, /, **facts: str) -> Iterator[None]:
        """Record what the block creates and removes again. Only a run that is killed within the block leaves it."""
        self.will_create(kind, name, **facts)
        yield
        with self._lock:
            self._record["entries"].remove({"kind": kind, "name": name, "facts": facts})
            self._write()

    def keep(self) -> None:
        """Record that what was created is kept after the run."""
        with self._lock:
            self._record["keep"] = True
            self._write()

    def close(self) -> None:
        """Remove the run's folder, with its keys and kubeconfigs; the record last."""
        for path in self.folder.glob("*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != RECORD:
                path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self) -> None:
        private_file.write(self.folder / RECORD, json.dumps(self._record, indent=1))


def dead_journals(base: Path | None = None) -> list[Journal]:
    """The journals of runs that ended without closing them, oldest first."""
    return [journal for journal in _journals(base) if journal.dead]


def kept_journals(base: Path | None = None) -> list[Journal]:
    """The journals of runs that ended and kept what they created, oldest first."""
    return [journal for journal in _journals(base) if journal.kept]


def _journals(base: Path | None) -> Iterator[Journal]:
    for folder in sorted((base or runs_folder()).iterdir()):
        # A run that is ending removes its record, and a run that is beginning has none yet. Damaged records are those
        # that ``unreadable`` lists.
        with suppress(FileNotFoundError, NotADirectoryError, EnvironmentBroke):
            yield Journal.read(folder)


def unreadable(base: Path | None = None) -> Iterator[str]:
    """A line for each record that is damaged, for example by a full disk."""
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
        raise EnvironmentBroke(f"the machine's process table does not list this process, {pid}")
    return {"host": socket.gethostname(), "boot": own.boot, "pid": pid, "started": own.started}


def _identity(record: Mapping[str, Any]) -> processes.Identity | None:
    """The identity of a run's process; None for a record of an earlier version, whose fields are texts."""
    started, boot = record["started"], record["boot"]
    return processes.Identity(started, boot) if isinstance(started, float) and isinstance(boot, float) else None
