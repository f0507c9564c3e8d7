"""Who looks at a mesh and who changes it: many look at once, one changes alone, across processes.

And who sends from a client: one batch at a time, or the requests of two would meet in its side-car.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from splithorizon import private
from splithorizon.locked import locked
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
        with _held(self.file, fcntl.LOCK_SH):
            yield

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Change the mesh while nobody looks; waits for who does."""
        with _held(self.file, fcntl.LOCK_EX):
            yield


@contextmanager
def sending(kubeconfig: Path) -> Iterator[None]:
    """Send from a cluster's client while nobody else does; waits for who does.

    Side-cars prefer the endpoint with the fewest requests in flight: a second batch would weigh in the choice.
    """
    with _held(kubeconfig.with_suffix(".sending"), fcntl.LOCK_EX):
        yield


@contextmanager
def _held(file: Path, how: int) -> Iterator[None]:
    # Never replaced: a lock belongs to the file that was opened, not to its name.
    file.touch(mode=private.PRIVATE)
    with locked(file, how):
        yield
