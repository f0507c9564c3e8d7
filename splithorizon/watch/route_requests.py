"""The requests of one route, in the order in which they began: losses, outages, wrong paths, and what was not seen.

Memory is bounded: a request is forgotten once the next one has begun. All times are seconds by the watch's clock.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count

from splithorizon.base.timeouts import current as timeouts
from splithorizon.traffic.sender import TIMED_OUT
from splithorizon.watch.phases import PhaseLog

IN_A_ROW = 3
"""So many requests that are lost one after the other, with none answered between, are an outage."""
LOSSES = 500
BUCKETS = 720
NAMES = 24
"""How many reasons, and how many addresses, are counted by name; all others are counted together."""
OTHERS = "others"
NOT_ATTRIBUTED = "not attributed"


class Kind(StrEnum):
    """How requests were lost: an outage lets nothing through; the others leave neighbours answered."""

    OUTAGE = "outage"
    STALL = "stall"
    RESET = "reset"


@dataclass(frozen=True)
class Sample:
    """One request: when it began, how long it took, why it was lost (empty: answered), and where the sidecar sent it.

    ``address`` is empty where no line of the access log was seen for it.
    """

    began: float
    seconds: float
    lost: str = ""
    address: str = ""


@dataclass
class Loss:
    """Lost requests with less than five seconds (``loss_quiet``) between them.

    ``begin`` is when the last request began that was answered before it (or the first lost one, where there is none),
    ``first`` when the first lost one began, ``end`` when the first one began that was answered after the last.
    ``answered`` counts those answered in between. ``longest`` is the longest time in which none was answered.
    """

    begin: float
    first: float
    end: float
    lost: int = 0
    answered: int = 0
    longest: float = 0.0
    in_a_row: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def kind(self) -> Kind:
        """An outage where requests were lost in a row; else a stall where one got no answer, else a reset."""
        if self.in_a_row >= IN_A_ROW:
            return Kind.OUTAGE
        return Kind.STALL if any(TIMED_OUT in reason for reason in self.reasons) else Kind.RESET

    def and_then(self, later: Loss) -> Loss:
        """Both as one, where there are too many to keep."""
        return Loss(
            self.begin, self.first, later.end, self.lost + later.lost, self.answered + later.answered,
            max(self.longest, later.longest), max(self.in_a_row, later.in_a_row), self.reasons + later.reasons,
        )  # fmt: skip


@dataclass
class Bucket:
    """The requests that began in one piece of time."""

    sent: int = 0
    lost: int = 0
    wrong: int = 0
    paths: Counter[str] = field(default_factory=Counter)

    def add(self, other: Bucket) -> None:
        """Take the other's too."""
        self.sent += other.sent
        self.lost += other.lost
        self.wrong += other.wrong
        self.paths += other.paths


class Timeline:
    """Requests by time, in at most ``BUCKETS`` pieces of equal length, which doubles whenever they become too many."""

    def __init__(self, began: float) -> None:
        """Begin with pieces of one second."""
        self.began = began
        self.width = 1.0
        self.buckets: list[Bucket] = [Bucket()]

    def at(self, moment: float) -> Bucket:
        """The piece that a moment lies in; a moment before the beginning lies in the first."""
        place = max(0, int((moment - self.began) / self.width))
        while place >= BUCKETS:
            self._widen()
            place = int((moment - self.began) / self.width)
        while place >= len(self.buckets):
            self.buckets.append(Bucket())
        return self.buckets[place]

    def _widen(self) -> None:
        for left, right in zip(self.buckets[::2], self.buckets[1::2], strict=False):
            left.add(right)
        del self.buckets[1::2]
        self.width *= 2


class Names:
    """Counts by name; after ``NAMES`` different ones the rest is counted as others."""

    def __init__(self) -> None:
        """Count nothing yet."""
        self.counts: Counter[str] = Counter()

    def add(self, name: str) -> str:
        """Count once, and return the name under which it was counted."""
        if name not in self.counts and len(self.counts) >= NAMES:
            name = OTHERS
        self.counts[name] += 1
        return name


@dataclass(eq=False)
class Counts:
    """Requests of a route: how many were sent and lost, and for how many seconds none was answered at most."""

    sent: int = 0
    lost: int = 0
    wrong_seconds: float = 0.0
    longest: float = 0.0
    reasons: Names = field(default_factory=Names)
    wrong_paths: Names = field(default_factory=Names)

    def take(self, sample: Sample, *, is_wrong: bool) -> None:
        """Count a request; ``is_wrong`` says that its answer came by a wrong path."""
        self.sent += 1
        if sample.lost:
            self.lost += 1
            self.reasons.add(sample.lost)
        if is_wrong:
            self.wrong_paths.add(sample.address)


class RouteRequests(Counts):
    """All requests of one route. ``right`` is asked, when a request is counted, which addresses are the right path.

    It may be changed by its owner at any time: a gateway's address may change. ``phases`` are asked, at the same time,
    in which phase a request began.
    """

    def __init__(self, began: float, right: Collection[str] = (), phases: PhaseLog | None = None) -> None:
        """Begin to watch at a moment."""
        super().__init__()
        self.began = began
        self.right: set[str] = set(right)
        self.by_phase: dict[int, Counts] = {}
        """By the place of the phase."""
        self._phases = phases or PhaseLog()
        self.late = 0
        """Requests that were seen too late to be put in their order: counted, and part of no outage."""
        self.not_attributed = 0
        self.unseen_seconds = 0.0
        self.longest_began = 0.0
        self.paths = Names()
        self.timeline = Timeline(began)
        self._waiting: list[tuple[float, int, Sample]] = []
        self._number = count()
        self._losses: list[Loss] = []
        self._released = began
        self._answered: float | None = None
        self._answered_since = 0
        self._run: tuple[float, int] | None = None
        self._last: Sample | None = None

    @property
    def answered(self) -> int:
        """How many were answered."""
        return self.sent - self.lost

    @property
    def losses(self) -> tuple[Loss, ...]:
        """The losses so far, in their order."""
        return tuple(self._losses)

    @property
    def open_since(self) -> float | None:
        """Since when nothing is answered; None where the last request was."""
        return self._run[0] if self._run else None

    def add(self, sample: Sample) -> None:
        """Take a request; it is counted once ``release`` is called with a later moment."""
        heapq.heappush(self._waiting, (sample.began, next(self._number), sample))

    def release(self, before: float) -> None:
        """Count what began before a moment, in the order of the beginnings."""
        while self._waiting and self._waiting[0][0] < before:
            _, _, sample = heapq.heappop(self._waiting)
            self._count(sample)

    def close(self, at: float) -> None:
        """Count the rest. Where nothing was answered last, the outage lasts until ``at``."""
        self.release(float("inf"))
        if self._run is not None:
            self._end_run(max(at, self._released))
        self._note_unseen(at)

    def _count(self, sample: Sample) -> None:
        is_wrong = self._is_wrong(sample)
        for counts in self._counts_at(sample.began):
            counts.take(sample, is_wrong=is_wrong)
        bucket = self.timeline.at(sample.began)
        bucket.sent += 1
        bucket.lost += bool(sample.lost)
        bucket.wrong += is_wrong
        self.not_attributed += not sample.address
        bucket.paths[self.paths.add(sample.address or NOT_ATTRIBUTED)] += 1
        if sample.began < self._released:
            self.late += 1
            if sample.lost:
                self._lose(sample, in_order=False)
            return
        self._note_unseen(sample.began)
        self._released = sample.began
        if sample.lost:
            first, lost = self._run or (sample.began, 0)
            self._run = first, lost + 1
            self._lose(sample, in_order=True)
        else:
            if self._run is not None:
                self._end_run(sample.began)
            self._answered_since += 1
            self._answered = sample.began
        self._last = sample

    def _counts_at(self, moment: float) -> Iterator[Counts]:
        """The counts of the whole, and those of the phase in which a moment lies."""
        yield self
        if (place := self._phases.at(moment)) is not None:
            yield self.by_phase.setdefault(place, Counts())

    def _is_wrong(self, sample: Sample) -> bool:
        """Whether an answer came by a wrong path; a lost request has no path to judge."""
        return not sample.lost and bool(sample.address) and sample.address not in self.right

    def _note_unseen(self, until: float) -> None:
        gap = until - self._released
        if gap > timeouts().watch.unseen:
            self.unseen_seconds += gap
        # A wrong path lasts until the next request, at most as long as a route counts as watched.
        last = self._last
        if last is not None and self._is_wrong(last):
            seconds = min(max(gap, 0.0), timeouts().watch.unseen)
            for counts in self._counts_at(last.began):
                counts.wrong_seconds += seconds

    def _lose(self, sample: Sample, *, in_order: bool) -> None:
        known = self._losses[-1] if self._losses else None
        if known is None or sample.began - known.end >= timeouts().watch.loss_quiet:
            before = self._answered if self._answered is not None and in_order else sample.began
            known = Loss(before, sample.began, sample.began + sample.seconds)
            self._losses.append(known)
            self._bound_losses()
            known = self._losses[-1]
        else:
            # Only now is it known that they were in between.
            known.answered += self._answered_since
        self._answered_since = 0
        known.lost += 1
        known.reasons[sample.lost if sample.lost in known.reasons or len(known.reasons) < NAMES else OTHERS] += 1
        known.end = max(known.end, sample.began)
        if in_order and self._run is not None:
            known.in_a_row = max(known.in_a_row, self._run[1])

    def _end_run(self, answered: float) -> None:
        if self._run is None:
            return
        first, _ = self._run
        self._run = None
        lasted = answered - first
        loss = self._losses[-1]
        loss.end = answered
        loss.longest = max(loss.longest, lasted)
        if lasted > self.longest:
            self.longest_began = first
        for counts in self._counts_at(first):
            counts.longest = max(counts.longest, lasted)

    def _bound_losses(self) -> None:
        if len(self._losses) <= LOSSES:
            return
        # The two that lie closest together become one; the last is still open.
        pairs = range(len(self._losses) - 2)
        place = min(pairs, key=lambda one: self._losses[one + 1].first - self._losses[one].end)
        self._losses[place : place + 2] = [self._losses[place].and_then(self._losses[place + 1])]
