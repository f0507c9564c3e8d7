"""The phases of a change that is made while a mesh is watched: each request belongs to the one in which it began."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from splithorizon.base.errors import EnvironmentBroke


@dataclass
class Phase:
    """One phase. Times are seconds since 1970 by the watch's clock; ``ended`` is None while it goes on.

    ``versions`` says which versions there are at its end. ``core`` is the verdict of the core checks at its end, empty
    where they were not run, ``refuted`` the behaviours that these refuted. ``broke`` is why it could not be carried
    out, empty where it was.
    """

    name: str
    began: float
    ended: float | None = None
    versions: tuple[str, ...] = ()
    core: str = ""
    refuted: tuple[str, ...] = ()
    broke: str = ""


@dataclass
class PhaseLog:
    """The phases so far, in their order. One thread adds to it, and others read."""

    phases: list[Phase] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """A phase that lasts as long as the block. What breaks in the block is noted, and raised on."""
        phase = Phase(name, time.time())
        self.phases.append(phase)
        try:
            yield phase
        except EnvironmentBroke as broken:
            phase.broke = str(broken)
            raise
        finally:
            phase.ended = time.time()

    def at(self, moment: float) -> int | None:
        """The place of the phase in which a moment lies; None before the first and between two."""
        for place in range(len(self.phases) - 1, -1, -1):
            phase = self.phases[place]
            if phase.began <= moment:
                return place if phase.ended is None or moment <= phase.ended else None
        return None
