"""The two logs of one sender, line by line as they are written: its results, and its sidecar's access log.

A result waits for the line of the access log that has its id, which names the path, and goes on without it after a
while. Nothing is kept of what has gone on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from splithorizon.base.timeouts import current as timeouts
from splithorizon.traffic import access_log, sender
from splithorizon.traffic.sender import Result, Stream
from splithorizon.watch.kept_connections import KeptResult
from splithorizon.watch.route_requests import Sample

_MOST_SERIES = 10_000
_ASKED = re.compile(r"\S+ \S*\?(?P<id>\S+) ")


@dataclass(frozen=True)
class Attributed:
    """What the access log says of a request: where the sidecar sent it, and how it failed."""

    address: str
    flags: str
    at: float


@dataclass
class _Waiting:
    result: Result
    stamp: float
    arrived: float


class ClockOffset:
    """The difference between this machine's clock and that of a node, by the lines that took the least time."""

    def __init__(self) -> None:
        """Nothing is known before the first line."""
        self._least: float | None = None
        self._first = 0.0

    def observe(self, stamp: float, arrived: float) -> None:
        """A line with a node's time arrived at our time."""
        if self._least is None:
            self._first = arrived
            self._least = arrived - stamp
        self._least = min(self._least, arrived - stamp)

    def known(self, now: float) -> bool:
        """Whether lines came for a while: those of the past take longer than new ones."""
        return self._least is not None and now - self._first >= timeouts().watch.clock_known

    def ours(self, stamp: float) -> float:
        """A node's time by our clock."""
        return stamp + (self._least or 0.0)


@dataclass
class _Numbers:
    """Of one series: the highest number of a result, and how many results were seen."""

    highest: int = 0
    seen: int = 0


@dataclass
class SenderLogs:
    """Both logs of one sender's pod. What began before ``since`` or after ``until`` is left out: it was not watched."""

    since: float = 0.0
    until: float = math.inf
    sent: int = 0
    """Results on new connections that arrived so far."""
    lost: int = 0
    waits: int = 0
    """How often the sender got no answer before its first request counted; it asks once a second."""
    unreadable: int = 0
    ending_since: float | None = None
    """Since when the pod is being deleted: requests that it loses from then on do not count."""
    of_its_end: int = 0
    """Lost requests that were left out because the pod was being deleted."""
    clock: ClockOffset = field(default_factory=ClockOffset)
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _lines: dict[str, Attributed] = field(default_factory=dict)
    _series: dict[str, _Numbers] = field(default_factory=dict)
    _ready: list[_Waiting] = field(default_factory=list)
    _kept: list[tuple[Stream, _Waiting]] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Results that were written and not seen, by the gaps in their numbers: lines of a log that was rotated."""
        return sum(one.highest - one.seen for one in self._series.values())

    @property
    def awaits_lines(self) -> bool:
        """Whether the line of a request that was watched has not come yet."""
        waiting = (one for request_id, one in self._waiting.items() if request_id not in self._lines)
        return any(self._is_watched(self.clock.ours(one.stamp) - one.result.seconds) for one in waiting)

    def result(self, text: str, stamp: float, arrived: float) -> None:
        """Take a line of the sender."""
        self.clock.observe(stamp, arrived)
        if text == sender.WAITS:
            self.waits += 1
            return
        found = sender.parse(text)
        if found is None:
            self.unreadable += text.startswith(sender.MARK)
            return
        one = _Waiting(found, stamp, arrived)
        self._number(found)
        if found.stream is not Stream.NEW:
            self._kept.append((found.stream, one))
            return
        self.sent += 1
        self.lost += bool(found.lost)
        self._waiting[found.request_id] = one

    def logged(self, text: str, arrived: float) -> None:
        """Take a line of the sidecar."""
        for line in access_log.parse(f"{text}\n").lines:
            if line.request and (asked := _ASKED.match(line.request)):
                address = line.upstream_host or ""
                self._lines[asked["id"]] = Attributed(address, line.response_flags or "", arrived)

    def samples(self, now: float, *, everything: bool = False) -> Iterator[Sample]:
        """What is complete by now, or has waited long enough; at the end everything."""
        if not self.clock.known(now) and not everything:
            return
        for request_id, one in list(self._waiting.items()):
            line = self._lines.pop(request_id, None)
            if line is None and not everything and now - one.arrived < timeouts().watch.path_logged:
                continue
            del self._waiting[request_id]
            if (sample := self._sample(one, line)) is not None:
                yield sample
        for request_id, line in list(self._lines.items()):
            if now - line.at > timeouts().watch.path_forgotten:
                del self._lines[request_id]

    def kept(self, now: float, *, everything: bool = False) -> Iterator[tuple[Stream, str, KeptResult]]:
        """The results on connections that are kept, each with the name of its connection."""
        if not self.clock.known(now) and not everything:
            return
        kept, self._kept = self._kept, []
        for stream, one in kept:
            began = self.clock.ours(one.stamp) - one.result.seconds
            if not self._is_watched(began) or (one.result.lost and self._is_its_end(began + one.result.seconds)):
                continue
            yield stream, one.result.series, KeptResult(began, one.result.seconds, one.result.lost, one.result.opened)

    def _sample(self, one: _Waiting, line: Attributed | None) -> Sample | None:
        ended = self.clock.ours(one.stamp)
        lost = one.result.lost
        if not self._is_watched(ended - one.result.seconds):
            self.sent -= 1
            self.lost -= bool(lost)
            return None
        if lost and self._is_its_end(ended):
            self.of_its_end += 1
            return None
        if lost and line is not None and line.flags:
            lost = f"{lost} ({line.flags})"
        return Sample(ended - one.result.seconds, one.result.seconds, lost, line.address if line else "")

    def _is_watched(self, began: float) -> bool:
        return self.since <= began <= self.until

    def _is_its_end(self, moment: float) -> bool:
        return self.ending_since is not None and moment >= self.ending_since

    def _number(self, found: Result) -> None:
        if found.series not in self._series and len(self._series) >= _MOST_SERIES:
            return
        numbers = self._series.setdefault(found.series, _Numbers())
        numbers.highest = max(numbers.highest, found.number)
        numbers.seen += 1
