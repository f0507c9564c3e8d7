"""How to take each change of a mesh back, written down until it is done: of a killed run, a sweep does it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from itertools import count
from pathlib import Path

from splithorizon import private
from splithorizon.kube import Kube, Object

_FOLDER = "changes"
_numbers = count()


class Way(StrEnum):
    """How a change is taken back: the object as it was, the fields that it had, or none of it."""

    APPLY = "apply"
    PATCH = "patch"
    PATCH_STATUS = "patch status"
    DELETE = "delete"


@dataclass(frozen=True)
class Undo:
    """One change taken back, in the cluster that a kubeconfig leads to."""

    role: str
    way: Way
    kind: str
    name: str
    namespace: str | None
    body: Object | None = None

    def __str__(self) -> str:
        """Name the object, as a person looks for it."""
        return f"{self.kind} {f'{self.namespace}/' if self.namespace else ''}{self.name} of the {self.role}"

    def take(self, kube: Kube) -> None:
        """Do it; raises EnvironmentBroke where the cluster does not let us."""
        match self.way:
            case Way.APPLY:
                kube.apply(self.body or {})
            case Way.PATCH:
                kube.patch(self.kind, self.name, self.namespace, self.body or {})
            case Way.PATCH_STATUS:
                kube.patch_status(self.kind, self.name, self.namespace, self.body or {})
            case Way.DELETE:
                kube.delete(self.kind, self.name, self.namespace)


def written_down(
    kube: Kube, way: Way, kind: str, name: str, namespace: str | None, body: Object | None = None
) -> Callable[[], None]:
    """Write an undo into the run's folder, where secrets may lie; what is returned does it and strikes it out."""
    undo = Undo(kube.role, way, kind, name, namespace, body)
    folder = kube.kubeconfig.parent / _FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    # By its time, for workers write side by side and the last change has to be taken back first.
    file = folder / f"{time.time_ns():020}-{os.getpid()}-{next(_numbers)}.json"
    private.write(file, json.dumps({**asdict(undo), "kubeconfig": str(kube.kubeconfig)}))
    return partial(_take, undo, kube, file)


def left_in(folder: Path) -> Iterator[tuple[Undo, Callable[[], None]]]:
    """What a run that has ended did not take back, last change first; each with what does it and strikes it out."""
    for file in sorted((folder / _FOLDER).glob("*.json"), reverse=True):
        told = json.loads(file.read_text())
        kube = Kube(Path(told.pop("kubeconfig")), told["role"])
        undo = Undo(**{**told, "way": Way(told["way"])})
        yield undo, partial(_take, undo, kube, file)


def _take(undo: Undo, kube: Kube, file: Path) -> None:
    undo.take(kube)
    file.unlink(missing_ok=True)
