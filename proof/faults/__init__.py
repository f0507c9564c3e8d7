"""Breaks a healthy mesh on purpose, one way at a time, and mends it again: how the checks are proven able to fail."""

from __future__ import annotations

import importlib
import pkgutil

from proof.faults import registry


def every_fault() -> tuple[registry.Fault, ...]:
    """Every registered fault, by area; reads each module of this package."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return tuple(registry.FAULTS)
