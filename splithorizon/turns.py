"""Who looks at a mesh and who changes it: many look at once, one changes alone, across processes."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from splithorizon import private
from splithorizon.mesh.facts import MeshFacts
from splithorizon.topology import Role

_FILE = "turns"


@dataclass(frozen=True)
class Turns:
    """A file's lock, which the kernel gives back whatever becomes of its holder. Not re-entrant."""

    file: Path

    @classmethod
    def of(cls, facts: MeshFacts) -> Turns:
        """The turns of one mesh, beside its kubeconfigs."""
        return cls(facts.clusters[Role.PRIMARY].kubeconfig.with_name(_FILE))

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look while nobody changes the mesh; waits for who does."""
        yield from self._held(fcntl.LOCK_SH)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Change the mesh while nobody looks; waits for who does."""
        yield from self._held(fcntl.LOCK_EX)

    def _held(self, how: int) -> Iterator[None]:
        private.write(self.file, "")
        with self.file.open() as file:
            fcntl.flock(file, how)
            yield
