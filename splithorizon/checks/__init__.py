"""The only place that judges: each check states a claim, and refutes it with what was seen.

A check returns its evidence, or raises CheckFailed with what was expected, what was seen, over how
many samples, the likely cause and one command to look further. None of them passes on no samples.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splithorizon.checks.all_checks import *  # noqa: F403  # the names are listed there
else:

    def __getattr__(name: str) -> Any:
        """A check, by its name. All are imported for the first: who only collects the suites needs none of them."""
        # Of each module that a suite imports, pytest asks for names with an underscore.
        if not name.startswith("_") and name != "all_checks":
            checks = import_module(f"{__name__}.all_checks")
            if name in checks.__all__:
                return getattr(checks, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
