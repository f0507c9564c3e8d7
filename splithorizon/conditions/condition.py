"""One condition of a mesh, and what follows from it for a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Object = dict[str, Any]


class Effect(StrEnum):
    """What a condition leads to. Each condition leads to exactly one of these."""

    NEUTRALISED = "neutralised"
    """An object in the run's own namespace keeps it away from the run's traffic."""
    CONSIDERED = "considered"
    """Checks judge by it."""
    NOT_CLAIMED = "not claimed"
    """Behaviours that cannot be judged under it are left out."""
    REFUSED = "refused"
    """Nothing could be judged: the run ends before anything is created."""
    UNKNOWN = "unknown"
    """It could not be read, and the mesh is judged as if it did not hold."""


@dataclass(frozen=True)
class Condition:
    """One condition: its name, the object and field that were read, and its consequence as a sentence.

    ``objects`` are applied in the run's own namespace wherever an istiod reads configuration, ``namespace_labels`` go
    on that namespace in every cluster, and ``behaviours`` are the names of those that are not claimed.
    """

    name: str
    seen: str
    effect: Effect
    consequence: str
    objects: tuple[Object, ...] = ()
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    behaviours: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As a line of the run's output has it."""
        return f"{self.name}: {self.seen} ({self.effect}: {self.consequence})"
