"""How a command of the proof ends: what is said of it, and its exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable

from splithorizon.base.errors import EnvironmentBroke, UsageProblem

MISUSED = 4
_STOPPED, _INCONCLUSIVE = 130, 10


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
