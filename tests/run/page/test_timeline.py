from __future__ import annotations

import pytest

from splithorizon.run.page.timeline import phase_rows, rows, timelines
from splithorizon.run.watch_results import watch_report
from splithorizon.watch.budget import Budget
from tests.run.test_watch_results import changed, requests_of, upgraded, watched


def test_without_a_watch_there_is_no_timeline() -> None:
    assert timelines(None) == ()
    assert rows(None) == ()
    assert phase_rows(None) == ()


def test_lost_requests_stand_in_the_column_of_their_time_and_events_below() -> None:
    watch = watch_report(
        watched(requests_of(60, (30, 31)), changed(31, "a is gone"), changed(50, "x", "Secrets")), Budget()
    )
    (one,) = timelines(watch)
    assert one.text == "primary→remote: 20 of 1,200 lost, 1.00 s without an answer at most"
    assert len(one.columns) == 60
    (lost,) = (column for column in one.columns if column.lost)
    assert lost.x == pytest.approx(10 + 400 * 30 / 60, abs=0.1)
    assert lost.lost == lost.height == 50
    assert [(tick.number, tick.costly) for tick in one.ticks] == [(1, True), (2, False)]
    assert one.ticks[0].x == pytest.approx(10 + 400 * 29 / 60, abs=0.1)
    assert [(row.subject, row.lost) for row in rows(watch)] == [("gateway pods", 20), ("Secrets", 0)]


def test_a_long_watch_has_a_bounded_number_of_columns_and_a_single_loss_is_seen() -> None:
    watch = watch_report(watched(requests_of(700, (350, 350.05)), seconds=700), Budget())
    (one,) = timelines(watch)
    assert len(one.columns) <= 100
    assert [column.lost for column in one.columns if column.lost] == [3.0]
    assert max(column.x + column.width for column in one.columns) <= 410.1


def test_of_many_events_those_that_cost_something_are_shown() -> None:
    changes = [changed(5 * n + 1, "x", f"subject {n}") for n in range(60)]
    watch = watch_report(
        watched(requests_of(400, (350, 351)), *changes, changed(351, "a is gone"), seconds=400), Budget()
    )
    shown = rows(watch)
    assert len(shown) == 40
    assert shown[-1].number == 61
    assert shown[-1].lost == 20


def test_each_phase_has_the_requests_of_all_routes() -> None:
    before, gateway = phase_rows(watch_report(upgraded((40, 41)), Budget()))
    assert (before.name, before.sent, before.lost, before.core) == ("before the upgrade", 600, 0, "conformant")
    assert (gateway.began, gateway.ended, gateway.lost, gateway.longest) == (30.0, 60.0, 20, 1.0)
    assert gateway.versions == "istiod of primary 1.29.1, its proxies: 3 of 1.28.3, 4 of 1.29.1"


def test_a_phase_that_broke_says_why() -> None:
    seen = upgraded()
    seen.phases[1].broke = "istioctl failed"
    assert phase_rows(watch_report(seen, Budget()))[1].core == "istioctl failed"
