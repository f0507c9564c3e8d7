"""The faults that a command of the proof is asked for by name."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from lab import topology
from splithorizon.base.errors import UsageProblem
from splithorizon.istio.topology import Topology


def shape(name_or_file: str) -> Topology | None:
    """The topology that a command is asked for; where there is none it is said."""
    try:
        return topology.read(name_or_file)
    except UsageProblem as problem:
        print(problem, file=sys.stderr)
        return None


class Named(Protocol):
    """A fault, by its name."""

    @property
    def name(self) -> str:
        """As it is typed."""


F = TypeVar("F", bound=Named)


def chosen(faults: Iterable[F], names: Sequence[str]) -> list[F]:
    """The faults of these names, in the order of the names, or all; where none is there it is said, and none made."""
    known = {fault.name: fault for fault in faults}
    found = [known[name] for name in names or known if name in known]
    if not found:
        print(f"--only {' '.join(names)}: no such fault. Nothing was created.", file=sys.stderr)
    return found
