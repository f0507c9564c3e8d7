"""Changes that nothing but its own behaviour notices, each: made at once, looked at, and undone at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from splithorizon.base import parallel
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.mesh import settling
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.mesh import Mesh

T = TypeVar("T")


@dataclass(eq=False)
class IsolatedChange(ABC, Generic[T]):
    """One change, step by step: a step that breaks off leaves out the next ones, and of no other change."""

    mesh: Mesh
    broke: EnvironmentBroke | None = field(default=None, init=False)
    """Why it did not come to its end."""

    @abstractmethod
    def apply(self, undo: ExitStack) -> None:
        """Make it, until the undo."""

    @abstractmethod
    def await_effect(self, cluster: Cluster) -> None:
        """Wait until a cluster's client sees it; return all the same when the time is up, for the check to say so."""

    @abstractmethod
    def look(self) -> None:
        """Send what is judged while it is in effect."""

    def await_undone(self, cluster: Cluster) -> None:
        """Wait until a cluster's client sees nothing of it any more; return all the same when the time is up."""

    def look_again(self) -> None:
        """Send or read what is judged after it is undone."""

    @abstractmethod
    def _seen(self) -> T:
        """What was seen, once it came to its end."""

    @property
    def seen(self) -> T:
        """What was seen; raises EnvironmentBroke where it did not come to its end."""
        if self.broke is not None:
            raise self.broke
        return self._seen()

    def attempt(self, step: Callable[[], None]) -> None:
        """Take one step, unless an earlier one broke off."""
        if self.broke is None:
            try:
                step()
            except EnvironmentBroke as broke:
                self.broke = broke


def make_all(mesh: Mesh, changes: Sequence[IsolatedChange[Any]], undo: ExitStack) -> None:
    """Make the changes at once, and undo them at once; each client still sends one batch at a time.

    Raises EnvironmentBroke where the mesh is not as before afterwards; whatever else breaks off is kept by its change.
    """
    for change in changes:
        change.attempt(partial(change.apply, undo))
    _with_every_client(mesh, changes, lambda change, cluster: change.await_effect(cluster))
    # A policy has the pods' sidecars replace what listens: a request on a connection that drains may be lost.
    settling.await_drained(mesh)
    _side_by_side(changes, lambda change: change.look())
    undo.close()
    _with_every_client(mesh, changes, lambda change, cluster: change.await_undone(cluster))
    _side_by_side(changes, lambda change: change.look_again())


def _side_by_side(changes: Sequence[IsolatedChange[Any]], step: Callable[[IsolatedChange[Any]], None]) -> None:
    parallel.for_each(changes, lambda change: change.attempt(partial(step, change)))


def _with_every_client(
    mesh: Mesh, changes: Sequence[IsolatedChange[Any]], step: Callable[[IsolatedChange[Any], Cluster], None]
) -> None:
    pairs = [(change, cluster) for change in changes for cluster in mesh]
    parallel.for_each(pairs, lambda pair: pair[0].attempt(partial(step, *pair)))
