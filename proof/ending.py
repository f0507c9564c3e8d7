"""What the commands of the proof share: the faults that were chosen, and how a command ends."""

from __future__ import annotations

import signal
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from splithorizon.base.errors import EnvironmentBroke, UsageProblem

MISUSED = 4
_STOPPED, _INCONCLUSIVE = 130, 10


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


def interrupt_on_signals() -> None:
    """Let SIGINT and SIGTERM alike leave through every ``finally``: the fault that is in the mesh is undone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, _: types.FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def status_of(run: Callable[[], None]) -> int:
    """Run, and return 0; or print why the run ended before its end, and return 130, 4 or 10."""
    try:
        run()
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return _STOPPED
    except UsageProblem as problem:
        print(problem, file=sys.stderr)
        return MISUSED
    except EnvironmentBroke as broken:
        print(f"\nINCONCLUSIVE: {broken}", file=sys.stderr)
        return _INCONCLUSIVE
    return 0
