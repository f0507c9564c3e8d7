"""The timeline of a watch, as data for the template: what was sent and lost on a route, and the events below."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from splithorizon.run.watch_report import WatchedRoute, WatchReport

WIDTH, HEIGHT = 420, 96
_LEFT, _RIGHT, _TOP, _BOTTOM = 10, 410, 10, 60
_BARS = 100
_MOST_EVENTS = 40


@dataclass(frozen=True)
class Column:
    """The requests of a piece of time: from where, how wide, how high, and how much of it is lost or wrong."""

    x: float
    width: float
    height: float
    lost: float
    wrong: float


@dataclass(frozen=True)
class Tick:
    """An event, by its number in the table: where it begins, and how long it lasts."""

    x: float
    width: float
    number: int
    costly: bool


@dataclass(frozen=True)
class Timeline:
    """The picture of one route, and one sentence that says the same."""

    route: str
    text: str
    columns: tuple[Column, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class EventRow:
    """An event for readers of text."""

    number: int
    began: float
    ended: float
    cluster: str
    subject: str
    changes: str
    lost: int
    longest: float


@dataclass(frozen=True)
class PhaseRow:
    """A phase, with the requests of all routes together."""

    name: str
    began: float
    ended: float
    sent: int
    lost: int
    longest: float
    core: str
    versions: str


def phase_rows(watch: WatchReport | None) -> tuple[PhaseRow, ...]:
    """The phases of a change that the run made itself, in their order."""
    return tuple(
        PhaseRow(
            one.name, one.began, one.ended,
            sum(route.sent for route in one.routes), sum(route.lost for route in one.routes),
            max((route.longest_outage for route in one.routes), default=0.0),
            one.broke or one.core or "not run", "; ".join(one.versions),
        )
        for one in (watch.phases if watch else ())
    )  # fmt: skip


def timelines(watch: WatchReport | None) -> tuple[Timeline, ...]:
    """One of each route; none without a watch."""
    return tuple(_timeline(route, watch) for route in watch.routes) if watch else ()


def rows(watch: WatchReport | None) -> tuple[EventRow, ...]:
    """The events by number: of many the ones that cost something, and the first of the others."""
    if watch is None:
        return ()
    order = sorted(range(len(watch.events)), key=lambda place: not watch.events[place].lost)[:_MOST_EVENTS]
    return tuple(
        EventRow(
            place + 1, one.began, one.ended, one.cluster, one.subject, "; ".join(one.changes[:4]), one.lost, one.longest
        )
        for place in sorted(order)
        for one in (watch.events[place],)
    )


def _timeline(route: WatchedRoute, watch: WatchReport) -> Timeline:
    lost = f"{route.lost:,} of {route.sent:,} lost"
    longest = f", {route.longest_outage:.2f} s without an answer at most" if route.longest_outage else ""
    ticks = tuple(_tick(row, watch.seconds) for row in rows(watch))
    return Timeline(route.route, f"{route.route}: {lost}{longest}", tuple(_columns(route, watch.seconds)), ticks)


def _columns(route: WatchedRoute, seconds: float) -> Iterator[Column]:
    known = route.timeline
    together = max(1, -(-len(known.sent) // _BARS))
    pieces = [
        [sum(counts[place : place + together]) for counts in (known.sent, known.lost, known.wrong)]
        for place in range(0, len(known.sent), together)
    ]
    most = max((sent for sent, _, _ in pieces), default=0)
    for number, (sent, lost, wrong) in enumerate(pieces):
        start = _at(number * together * known.width, seconds)
        end = _at((number + 1) * together * known.width, seconds)
        height, lost_height, wrong_height = (
            round((_BOTTOM - _TOP) * count / most, 1) if most else 0.0 for count in (sent, lost, wrong)
        )
        # A single lost request is seen too.
        if lost:
            lost_height = max(3.0, lost_height)
        if end > start:
            yield Column(start, round(end - start, 1), height, lost_height, wrong_height)


def _tick(row: EventRow, seconds: float) -> Tick:
    start, end = _at(row.began, seconds), _at(row.ended, seconds)
    return Tick(start, max(2.0, round(end - start, 1)), row.number, bool(row.lost))


def _at(moment: float, seconds: float) -> float:
    return round(_LEFT + (_RIGHT - _LEFT) * min(1.0, moment / seconds), 1) if seconds else float(_LEFT)
