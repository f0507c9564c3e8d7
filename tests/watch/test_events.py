from __future__ import annotations

import pytest

from splithorizon.base.timeouts import current as timeouts
from splithorizon.watch.events import (
    EVENTS,
    TEXTS,
    Change,
    Event,
    EventLog,
    bracketing,
    brackets,
    differences,
)


def change(at: float, text: str = "x", *, subject: str = "gateway pods", settled: bool = True) -> Change:
    return Change(at - 2, at, "remote", subject, text, settled)


def event(begin: float, end: float, *, settled: bool = True) -> Event:
    return Event("remote", "gateway pods", begin, end, settled)


def test_changes_of_one_subject_that_follow_each_other_are_one_event() -> None:
    log = EventLog()
    for at, text, settled in [(10, "a is ending", False), (12, "b is new", False), (18, "b is ready", True)]:
        log.add(change(at, text, settled=settled))
    (found,) = log.events
    assert (found.begin, found.end, found.settled, found.changes) == (8, 18, True, 3)
    assert str(found) == "[remote] gateway pods: a is ending; b is new; b is ready"


def test_other_subjects_and_clusters_have_their_own_events() -> None:
    log = EventLog()
    log.add(change(10))
    log.add(change(10, subject="gateway addresses"))
    log.add(Change(8, 10, "primary", "gateway pods", "x"))
    assert len(log.events) == 3


def test_a_change_after_the_subject_has_settled_for_long_is_another_event() -> None:
    log = EventLog()
    log.add(change(10))
    log.add(change(21.9))
    log.add(change(34))
    assert [(one.begin, one.end) for one in log.events] == [(8, 21.9), (32, 34)]


def test_what_has_not_settled_goes_on() -> None:
    log = EventLog()
    log.add(change(10, settled=False))
    log.add(change(90))
    assert len(log.events) == 1


def test_texts_and_events_are_bounded_and_what_is_left_out_is_counted() -> None:
    log = EventLog()
    for n in range(TEXTS + 5):
        log.add(change(10 + n, f"text {n}"))
    assert str(log.events[0]).endswith("and 5 more")
    for n in range(EVENTS + 3):
        log.add(change(100 + n, subject=f"subject {n}"))
    assert len(log.events) == EVENTS
    assert log.dropped == 4


@pytest.mark.parametrize(
    ("begin", "first", "yes"),
    [
        (20.0, 20.05, True),  # within it
        (9.9, 10.1, True),  # as it began
        (30 + timeouts().watch.event_reacts - 0.1, 30 + timeouts().watch.event_reacts, True),  # as the mesh reacts
        (30 + timeouts().watch.event_reacts + 0.1, 30 + timeouts().watch.event_reacts + 0.2, False),  # long after it
        (9.0, 9.05, False),  # before it
    ],
)
def test_an_event_brackets_what_begins_within_it_or_soon_after(begin: float, first: float, yes: bool) -> None:
    assert brackets(event(10, 30), begin, first, until=1000) is yes


def test_one_that_has_not_settled_lasts_until_the_end() -> None:
    assert brackets(event(10, 30, settled=False), 500, 500.1, until=1000)
    assert not brackets(event(10, 30), 500, 500.1, until=1000)


def test_of_several_the_one_that_began_last_comes_first() -> None:
    early, late, after = event(10, 30), event(15, 16), event(40, 41)
    assert bracketing([early, late, after], 20, 20.1, until=1000) == (late, early)
    assert bracketing([early, late, after], 100, 100.1, until=1000) == ()


def test_differences_name_what_is_new_gone_and_other() -> None:
    found = differences({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "9", "d": "", "e": "5"})
    assert found == ["b: 2 → 9", "d is new", "e is new (5)", "c is gone"]
