from __future__ import annotations

import itertools

from splithorizon.traffic.sender import TIMED_OUT
from splithorizon.watch.kept_connections import KeptConnection, KeptResult
from splithorizon.watch.route_requests import LOSSES, Kind

BEGAN = 1000.0
STEP = 0.05


def kept(*lost_and_opened: tuple[str, bool]) -> KeptConnection:
    connection = KeptConnection()
    for n, (reason, opened) in enumerate(lost_and_opened):
        connection.add(KeptResult(BEGAN + n / 2, 0.01, reason, opened))
    connection.close(BEGAN + 100)
    return connection


FINE = ("", False)
OPENED = ("", True)


def test_a_connection_that_stays_open_is_not_cut() -> None:
    connection = kept(OPENED, *itertools.repeat(FINE, 20))
    assert (connection.sent, connection.lost, connection.count) == (21, 0, 0)


def test_one_that_had_to_be_opened_again_was_reset() -> None:
    (cut,) = kept(OPENED, FINE, OPENED, FINE).cuts
    assert (cut.kind, cut.reason, cut.at) == (Kind.RESET, "closed between two requests", BEGAN + 1)


def test_a_request_that_fails_on_it_is_a_reset_if_the_next_one_is_answered() -> None:
    (cut,) = kept(OPENED, FINE, ("connection reset", False), OPENED, FINE).cuts
    assert (cut.kind, cut.reason, cut.seconds) == (Kind.RESET, "connection reset", 0.5)


def test_a_request_without_an_answer_is_a_stall_if_the_next_one_is_answered() -> None:
    (cut,) = kept(OPENED, FINE, (TIMED_OUT, False), OPENED).cuts
    assert cut.kind is Kind.STALL


def test_where_the_next_one_fails_too_it_is_an_outage() -> None:
    connection = kept(OPENED, FINE, (TIMED_OUT, False), ("no connection", False), ("no connection", False), OPENED)
    (cut,) = connection.cuts
    assert (cut.kind, cut.seconds, connection.lost) == (Kind.OUTAGE, 1.5, 3)


def test_what_is_still_out_at_the_end_is_counted() -> None:
    (cut,) = kept(OPENED, FINE, ("no connection", False), ("no connection", False)).cuts
    assert (cut.kind, cut.seconds) == (Kind.OUTAGE, 99.0)


def test_the_cuts_are_bounded_and_all_are_counted() -> None:
    connection = kept(OPENED, *itertools.repeat(OPENED, LOSSES + 20))
    assert connection.count == LOSSES + 20
    assert len(connection.cuts) == LOSSES
