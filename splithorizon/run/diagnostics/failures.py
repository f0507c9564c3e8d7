"""Decides which failures of a run are collected: the first behaviours that fail, whichever process runs them."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from splithorizon.base.file_lock import locked
from splithorizon.diagnosis import access
from splithorizon.istio.info import MeshInfo
from splithorizon.mesh.mesh import Mesh
from splithorizon.run import known_secrets
from splithorizon.run.diagnostics import index
from splithorizon.run.diagnostics.collect import FILE, Collected, collect, load
from splithorizon.run.redaction import Redactor

FOLDER = "diagnostics"
BEHAVIOURS = 5
"""How many behaviours are collected; each may take half a minute and 20 MB."""
_UNFIT = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Collection:
    """A folder that was filled, and what is in it."""

    folder: Path
    collected: Collected


def of_failure(
    mesh: MeshInfo, report_folder: Path, behaviour: str, title: str, *, since: datetime
) -> Collection | None:
    """Collect for a behaviour, unless it has been, or enough others have: its other routes add nothing.

    Raises OSError where the folder cannot be written.
    """
    folder = report_folder / FOLDER / _UNFIT.sub("-", behaviour)
    with _alone(folder.parent):
        taken = [one for one in folder.parent.iterdir() if one.is_dir()]
        if folder in taken or len(taken) >= BEHAVIOURS:
            return None
        folder.mkdir()
    return _filled(mesh, folder, title, since)


def of_run(mesh: MeshInfo, report_folder: Path, *, since: datetime) -> Collection:
    """Collect at the end of a run, whatever its verdict. Raises OSError where the folder cannot be written."""
    folder = report_folder / FOLDER / "end-of-run"
    folder.mkdir(parents=True, exist_ok=True)
    return _filled(mesh, folder, "the end of the run", since)


def collected_in(report_folder: Path) -> list[Collection]:
    """The collections of a run that were completed, by name."""
    files = sorted((report_folder / FOLDER).glob(f"*/{FILE}"))
    return [Collection(file.parent, load(file.parent)) for file in files]


def _filled(info: MeshInfo, folder: Path, title: str, since: datetime) -> Collection:
    mesh = Mesh(info)
    clusters, target, revision = access.of_mesh(mesh)
    redact = Redactor(known_secrets.of_run(mesh.folder)).redact
    clusters += access.running_istiods(clusters)
    collected = collect(clusters, target, revision, folder, title=title, since=since, redact=redact)
    with _alone(folder.parent):
        index.write(folder.parent)
    return Collection(folder, collected)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other workers out of the folder for a moment."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, fcntl.LOCK_EX):
        yield
