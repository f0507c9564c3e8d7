"""What every disruption of one test shares: the mesh, the undos, and the moment of the last change."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from splithorizon.disruption import recovery
from splithorizon.disruption.recovery import Recovery
from splithorizon.mesh.mesh import Mesh
from splithorizon.undo import ownership


class Experiment:
    """One test's changes of the mesh. The test holds the mesh alone."""

    def __init__(self, mesh: Mesh, undo: ExitStack) -> None:
        """Take the stack that is closed at the test's end."""
        self.mesh = mesh
        self.at_the_end = undo.enter_context(ExitStack())
        """What is done once all is undone, at the test's end."""
        self.undo = undo.enter_context(ExitStack())
        self.rollouts: set[tuple[str, str, str]] = set()
        """The Deployments, by cluster, name and namespace, whose rollout is awaited once all is undone."""
        self._changed = time.monotonic()

    def begin(self) -> None:
        """Measure from now on: a change follows."""
        self._changed = time.monotonic()

    def measure(self, state: str, probe: Callable[[], object], *, within: float, cluster: str) -> Recovery:
        """Probe until a state is reached, measured from the last change; ``cluster`` is where to look if it is not."""
        return recovery.measure(state, probe, since=self._changed, within=within, cluster=cluster)

    def restore(self) -> None:
        """Undo every change so far, now."""
        self.begin()
        self.undo.close()
        self.rollouts.clear()

    def name_for(self, what: str) -> str:
        """The name of an object that this run makes in a system namespace; no other run makes the same name."""
        run = ownership.run_of(self.mesh.folder)
        return f"splithorizon-{what}-{ownership.name_part(run)[-24:].strip('-')}"
