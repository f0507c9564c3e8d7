"""What a run is about to create, written down first, so that another run can remove it after a kill."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FILE = "run.json"


@dataclass(frozen=True)
class Entry:
    """One thing that a run creates outside its own folder."""

    kind: str
    name: str
    facts: Mapping[str, str] = field(default_factory=dict)


def runs_folder() -> Path:
    """Where the folders of all runs of this user are: private, and not among the reports."""
    base = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108  # 0700 below it
    folder = Path(base) / f"splithorizon-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


class Journal:
    """The folder of one run and its record of what it makes."""

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        """Use ``open`` or ``read`` instead."""
        self.folder = folder
        self._record = record

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
        """Read another run's record."""
        return cls(folder, json.loads((folder / _FILE).read_text()))

    @property
    def entries(self) -> list[Entry]:
        """What the run was about to create, in that order."""
        return [Entry(**entry) for entry in self._record["entries"]]

    @property
    def dead(self) -> bool:
        """Whether the run's process is gone and its clusters were not to be kept."""
        pid = self._record["pid"]
        same_boot = self._record["boot"] == _boot()
        return not self._record["keep"] and not (same_boot and _started(pid) == self._record["started"])

    def will_create(self, kind: str, name: str, **facts: str) -> None:
        """Note, durably, what is about to be created."""
        self._record["entries"].append({"kind": kind, "name": name, "facts": facts})
        self._write()

    def keep(self) -> None:
        """Note that what was created outlives the run on purpose."""
        self._record["keep"] = True
        self._write()

    def close(self) -> None:
        """Remove the run's folder, keys and kubeconfigs with it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self) -> None:
        half = self.folder / f".{_FILE}"
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(self._record, file)
            file.flush()
            os.fsync(descriptor)
        half.rename(self.folder / _FILE)


def dead_journals(base: Path | None = None) -> list[Journal]:
    """The records of runs that ended without closing them."""
    folders = sorted((base or runs_folder()).iterdir())
    journals = [Journal.read(folder) for folder in folders if (folder / _FILE).is_file()]
    return [journal for journal in journals if journal.dead]


def _this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "started": _started(os.getpid()), "boot": _boot()}


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _started(pid: int) -> str | None:
    """When a process started, in clock ticks since boot; None where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
