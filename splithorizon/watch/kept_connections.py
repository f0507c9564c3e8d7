"""A connection that is kept open and used steadily: what was sent on it, and what interrupted it.

All times are seconds by the watch's clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from splithorizon.traffic.sender import TIMED_OUT
from splithorizon.watch.route_requests import LOSSES, Kind


@dataclass(frozen=True)
class Cut:
    """An interruption of a connection that is kept: when, how, and what the client saw.

    ``seconds`` is how long nothing was answered on it or on those that replaced it.
    """

    at: float
    kind: Kind
    reason: str
    seconds: float


@dataclass(frozen=True)
class KeptResult:
    """One request on a connection that is kept: ``opened`` says whether the connection was opened for it."""

    began: float
    seconds: float
    lost: str
    opened: bool


class KeptConnection:
    """One connection that is kept open and used steadily. What ends it is a cut; a fresh one is tried at once.

    A reset: it was closed, or a request on it failed, and the next request was answered. A stall: a request got no
    answer in time, and the next one did. An outage: the next one failed as well.
    """

    def __init__(self) -> None:
        """Nothing was sent yet."""
        self.sent = 0
        self.lost = 0
        self.count = 0
        self.cuts: list[Cut] = []
        self._begun = False
        self._failed: list[KeptResult] = []

    def add(self, result: KeptResult) -> None:
        """Take the next result, in the order of the connection."""
        self.sent += 1
        if result.lost:
            self.lost += 1
            # The first and the last suffice: an outage may be long.
            self._failed = [*self._failed[:1], result]
            self._begun = True
            return
        if self._failed:
            self._cut(result.began)
        elif result.opened and self._begun:
            self._note(Cut(result.began, Kind.RESET, "closed between two requests", 0.0))
        self._begun = True

    def close(self, at: float) -> None:
        """The watch ends: what was not answered by then lasts until now."""
        if self._failed:
            self._cut(at)

    def _cut(self, answered: float) -> None:
        first = self._failed[0]
        stalled = TIMED_OUT in first.lost
        kind = Kind.OUTAGE if len(self._failed) > 1 else Kind.STALL if stalled else Kind.RESET
        self._failed = []
        self._note(Cut(first.began, kind, first.lost, answered - first.began))

    def _note(self, cut: Cut) -> None:
        self.count += 1
        if len(self.cuts) < LOSSES:
            self.cuts.append(cut)
