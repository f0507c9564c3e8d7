"""What changed in the mesh while it was watched, and which change brackets which loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from splithorizon.base.timeouts import current as timeouts

EVENTS = 1000
TEXTS = 12
"""How many events, and how many changes of each, are kept in words; all others are counted."""


@dataclass(frozen=True)
class Change:
    """One difference between two readings of a cluster.

    It came about after ``after`` and was seen at ``seen``, both in seconds by the watch's clock. ``settled`` says
    whether nothing of its subject is under way any more, such as a pod that is not ready or ends.
    """

    after: float
    seen: float
    cluster: str
    subject: str
    text: str
    settled: bool = True


@dataclass
class Event:
    """Changes of one subject in one cluster, each within ten seconds of the one before it."""

    cluster: str
    subject: str
    begin: float
    end: float
    settled: bool
    changes: int = 0
    texts: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """As it stands in lines of progress and in the summary."""
        more = self.changes - len(self.texts)
        texts = [*self.texts, *([f"and {more} more"] if more else [])]
        return f"[{self.cluster}] {self.subject}: {'; '.join(texts)}"


class EventLog:
    """The events in the order in which they began; after ``EVENTS`` of them further ones are only counted."""

    def __init__(self) -> None:
        """Nothing changed yet."""
        self.events: list[Event] = []
        self.dropped = 0
        self._latest: dict[tuple[str, str], Event] = {}

    def add(self, change: Change) -> Event | None:
        """Take a change, by the time at which it was seen; return its event, or None where it is only counted."""
        subject = change.cluster, change.subject
        event = self._latest.get(subject)
        if event is None or (event.settled and change.after - event.end >= timeouts().watch.event_settles):
            if len(self.events) >= EVENTS:
                self.dropped += 1
                return None
            event = Event(*subject, begin=change.after, end=change.seen, settled=change.settled)
            self.events.append(event)
            self._latest[subject] = event
        event.end, event.settled = change.seen, change.settled
        event.changes += 1
        if len(event.texts) < TEXTS:
            event.texts.append(change.text)
        return event


def brackets(event: Event, begin: float, first: float, *, until: float) -> bool:
    """Whether an event may have to do with a loss, by time alone.

    The loss came about between ``begin`` and ``first``; the event from its begin until the mesh has had time to react
    to its end (``event_reacts``). One that has not settled lasts until ``until``.
    """
    ended = event.end if event.settled else until
    return event.begin <= first and begin <= ended + timeouts().watch.event_reacts


def bracketing(events: Iterable[Event], begin: float, first: float, *, until: float) -> tuple[Event, ...]:
    """The events that bracket a loss, the one that began last first; none where nothing explains it."""
    found = [event for event in events if brackets(event, begin, first, until=until)]
    return tuple(sorted(found, key=lambda event: event.begin, reverse=True))


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What is new, gone or different between two readings of the same things, by name."""
    new = [
        f"{name} is new ({after[name]})" if after[name] else f"{name} is new" for name in after if name not in before
    ]
    gone = [f"{name} is gone" for name in before if name not in after]
    other = [
        f"{name}: {before[name]} → {after[name]}" for name in after if name in before and before[name] != after[name]
    ]
    return [*other, *new, *gone]
