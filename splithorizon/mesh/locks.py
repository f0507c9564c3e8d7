"""Locks of one mesh, across processes: tests that read it share a lock, and a test that changes it holds it alone."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from splithorizon.base.file_lock import held
from splithorizon.istio.info import MeshInfo

_FILE = "mesh.lock"


@dataclass(frozen=True)
class MeshLock:
    """A lock on a file, which the kernel releases when its holder ends. It is not re-entrant."""

    file: Path

    @classmethod
    def of(cls, info: MeshInfo) -> MeshLock:
        """The lock of one mesh, beside its kubeconfigs."""
        return cls(next(iter(info.clusters.values())).kubeconfig.with_name(_FILE))

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock together with other readers; waits while somebody holds it exclusively."""
        with held(self.file, fcntl.LOCK_SH):
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone; waits for every other holder."""
        with held(self.file, fcntl.LOCK_EX):
            yield
