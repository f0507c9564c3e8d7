"""How a command that makes meshes ends: by a signal, by bad input, or because the environment broke."""

from __future__ import annotations

import signal
import sys
import types
from collections.abc import Callable

from splithorizon.base.errors import EnvironmentBroke, UsageProblem

MISUSED = 4
_STOPPED, _INCONCLUSIVE = 130, 10


def interrupt_on_first_signal() -> None:
    """Let the first SIGINT or SIGTERM leave through every ``finally``: what was made or changed is undone.

    The next ones do nothing, because tox and the terminal both send the same Ctrl-C.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def ignore_signals() -> None:
    """From here on no SIGINT or SIGTERM breaks anything off."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # A handler, because child processes would inherit SIG_IGN.
        signal.signal(number, lambda *_: None)


def _interrupt(number: int, _: types.FrameType | None) -> None:
    ignore_signals()
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
