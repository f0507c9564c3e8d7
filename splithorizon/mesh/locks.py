"""Who looks at a mesh and who changes it: many look at once, one changes alone, across processes.

And who sends from a client: one batch at a time, or the requests of two would meet in its sidecar.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from splithorizon.base.file_lock import held
from splithorizon.istio.info import MeshInfo
from splithorizon.istio.topology import Role

_FILE = "turns"


@dataclass(frozen=True)
class MeshLock:
    """A file's lock, which the kernel gives back whatever becomes of its holder. Not re-entrant."""

    file: Path

    @classmethod
    def of(cls, facts: MeshInfo) -> MeshLock:
        """The turns of one mesh, beside its kubeconfigs."""
        return cls(facts.clusters[Role.PRIMARY].kubeconfig.with_name(_FILE))

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look while nobody changes the mesh; waits for who does."""
        with held(self.file, fcntl.LOCK_SH):
            yield

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Change the mesh while nobody looks; waits for who does."""
        with held(self.file, fcntl.LOCK_EX):
            yield
