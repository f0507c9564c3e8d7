"""The rules that turn a reading into conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from splithorizon.conditions.condition import Condition
from splithorizon.conditions.reading import MeshConditions

Rule = Callable[[MeshConditions], Iterable[Condition]]
RULES: list[Rule] = []


def rule(decide: Rule) -> Rule:
    """Register a function that yields conditions of a mesh."""
    RULES.append(decide)
    return decide
