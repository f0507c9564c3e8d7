from __future__ import annotations

import tracemalloc
from collections import Counter

import pytest

from splithorizon.traffic.sender import TIMED_OUT
from splithorizon.watch.phases import Phase, PhaseLog
from splithorizon.watch.route_requests import (
    BUCKETS,
    LOSSES,
    NAMES,
    NOT_ATTRIBUTED,
    OTHERS,
    Kind,
    RouteRequests,
    Sample,
    Timeline,
)

GATEWAY = "10.89.0.14:15443"
BEGAN = 1000.0
STEP = 0.05


def answered(number: int, address: str = GATEWAY) -> Sample:
    return Sample(BEGAN + number * STEP, 0.01, "", address)


def lost(number: int, reason: str = "HTTP 503 (UF)", address: str = GATEWAY) -> Sample:
    return Sample(BEGAN + number * STEP, 0.01, reason, address)


def requests_of(*samples: Sample, until: float | None = None) -> RouteRequests:
    requests = RouteRequests(BEGAN, {GATEWAY})
    for sample in samples:
        requests.add(sample)
    requests.close(until if until is not None else max(one.began for one in samples))
    return requests


def test_a_route_without_a_loss_has_none() -> None:
    requests = requests_of(*map(answered, range(100)))
    assert (requests.sent, requests.answered, requests.lost, requests.losses) == (100, 100, 0, ())
    assert requests.longest == 0
    assert requests.paths.counts == {GATEWAY: 100}
    assert requests.unseen_seconds == requests.wrong_seconds == 0


def test_an_outage_lasts_from_the_first_lost_request_to_the_next_answered_one() -> None:
    samples = [lost(n) if 40 <= n < 60 else answered(n) for n in range(100)]
    requests = requests_of(*samples)
    assert requests.longest == pytest.approx(20 * STEP)
    assert requests.longest_began == pytest.approx(BEGAN + 40 * STEP)
    (loss,) = requests.losses
    assert loss.kind is Kind.OUTAGE
    assert (loss.lost, loss.answered, loss.in_a_row) == (20, 0, 20)
    # It came about after the last answered request began.
    assert loss.begin == pytest.approx(BEGAN + 39 * STEP)
    assert loss.first == pytest.approx(BEGAN + 40 * STEP)
    assert loss.end == pytest.approx(BEGAN + 60 * STEP)
    assert requests.reasons.counts == {"HTTP 503 (UF)": 20}


def test_the_order_is_that_of_the_beginnings_and_not_of_the_arrival() -> None:
    # Those that hang end, and are logged, after many that began later.
    samples = [lost(n, TIMED_OUT) if 40 <= n < 60 else answered(n) for n in range(100)]
    requests = requests_of(*(one for one in samples if not one.lost), *(one for one in samples if one.lost))
    assert requests.longest == pytest.approx(20 * STEP)
    assert requests.late == 0


def test_what_arrives_after_its_turn_is_counted_and_is_part_of_no_outage() -> None:
    requests = RouteRequests(BEGAN, {GATEWAY})
    requests.add(answered(10))
    requests.release(BEGAN + 100)
    requests.add(lost(5))
    requests.close(BEGAN + 1)
    assert (requests.sent, requests.lost, requests.late) == (2, 1, 1)
    assert requests.longest == 0
    assert [loss.lost for loss in requests.losses] == [1]


def test_nothing_is_counted_before_its_turn() -> None:
    requests = RouteRequests(BEGAN, {GATEWAY})
    requests.add(lost(10))
    requests.release(BEGAN + 10 * STEP)
    assert requests.sent == 0
    requests.release(BEGAN + 11 * STEP)
    assert requests.sent == 1


@pytest.mark.parametrize(
    ("reasons", "kind"),
    [
        (["HTTP 503 (UC)"], Kind.RESET),
        ([TIMED_OUT], Kind.STALL),
        (["HTTP 503 (UC)", TIMED_OUT], Kind.STALL),
        (["connection reset"] * 3, Kind.OUTAGE),
        ([TIMED_OUT] * 3, Kind.OUTAGE),
    ],
)
def test_reset_stall_and_outage_are_different_things(reasons: list[str], kind: Kind) -> None:
    requests = requests_of(answered(0), *(lost(n + 1, reason) for n, reason in enumerate(reasons)), answered(9))
    assert [loss.kind for loss in requests.losses] == [kind]
    assert Counter(loss.kind for loss in requests.losses) == {kind: 1}


def test_lost_requests_among_answered_ones_are_one_loss_and_no_outage() -> None:
    samples = [lost(n) if n in (20, 30, 40) else answered(n) for n in range(100)]
    requests = requests_of(*samples)
    (loss,) = requests.losses
    assert (loss.kind, loss.lost, loss.answered) == (Kind.RESET, 3, 18)
    assert loss.longest == pytest.approx(STEP)


def test_after_five_quiet_seconds_a_loss_is_another_one() -> None:
    samples = [lost(n) if n in (20, 200) else answered(n) for n in range(300)]
    requests = requests_of(*samples)
    assert [(loss.lost, round(loss.first - BEGAN, 2)) for loss in requests.losses] == [(1, 1.0), (1, 10.0)]


def test_an_outage_that_does_not_end_lasts_until_the_watch_does() -> None:
    requests = requests_of(answered(0), *(lost(n) for n in range(1, 100)), until=BEGAN + 5)
    assert requests.longest == pytest.approx(5 - STEP)
    assert requests.losses[0].end == pytest.approx(BEGAN + 5)


def test_an_outage_is_open_as_long_as_nothing_is_answered() -> None:
    requests = RouteRequests(BEGAN, {GATEWAY})
    for sample in (answered(0), lost(1), lost(2)):
        requests.add(sample)
    requests.release(BEGAN + 1)
    assert requests.open_since == pytest.approx(BEGAN + STEP)
    requests.add(answered(30))
    requests.release(BEGAN + 2)
    assert requests.open_since is None


def test_an_answer_by_another_way_is_on_a_wrong_path_until_the_next_one() -> None:
    samples = [answered(n, "10.20.0.7:5000" if 20 <= n < 40 else GATEWAY) for n in range(100)]
    requests = requests_of(*samples)
    assert requests.wrong_seconds == pytest.approx(20 * STEP)
    assert requests.wrong_paths.counts == {"10.20.0.7:5000": 20}
    assert requests.lost == 0


def test_a_new_address_of_the_gateway_is_a_right_path() -> None:
    requests = RouteRequests(BEGAN, {GATEWAY})
    requests.right.add("10.89.0.99:15443")
    for n in range(10):
        requests.add(answered(n, "10.89.0.99:15443"))
    requests.close(BEGAN + 1)
    assert requests.wrong_seconds == 0


def test_what_was_lost_was_on_no_wrong_path() -> None:
    requests = requests_of(answered(0), lost(1, address="127.0.0.9:15443"), answered(2))
    assert requests.wrong_seconds == 0
    assert requests.paths.counts["127.0.0.9:15443"] == 1


def test_a_request_without_a_line_has_no_path() -> None:
    requests = requests_of(answered(0), answered(1, ""))
    assert requests.not_attributed == 1
    assert requests.paths.counts == {GATEWAY: 1, NOT_ATTRIBUTED: 1}
    assert requests.wrong_seconds == 0


def test_time_without_requests_was_not_watched() -> None:
    requests = requests_of(answered(0), answered(20), answered(220), until=BEGAN + 20)
    assert requests.unseen_seconds == pytest.approx(10 + 9)


def test_names_are_bounded() -> None:
    requests = requests_of(*(lost(n, f"reason {n}", f"address {n}") for n in range(NAMES + 10)))
    assert len(requests.reasons.counts) == NAMES + 1
    assert requests.reasons.counts[OTHERS] == requests.paths.counts[OTHERS] == 10
    assert len(requests.losses[0].reasons) <= NAMES + 1
    assert sum(requests.losses[0].reasons.values()) == NAMES + 10


def test_losses_are_bounded_and_none_is_forgotten() -> None:
    requests = RouteRequests(BEGAN, {GATEWAY})
    for n in range(3 * LOSSES):
        requests.add(Sample(BEGAN + 10 * n, 0.01, "HTTP 503", GATEWAY))
        requests.add(Sample(BEGAN + 10 * n + 1, 0.01, "", GATEWAY))
        requests.release(BEGAN + 10 * n + 2)
    requests.close(BEGAN + 30 * LOSSES)
    assert len(requests.losses) == LOSSES
    assert sum(loss.lost for loss in requests.losses) == 3 * LOSSES
    assert [loss.first for loss in requests.losses] == sorted(loss.first for loss in requests.losses)


def test_a_timeline_keeps_every_request_in_a_bounded_number_of_pieces() -> None:
    timeline = Timeline(BEGAN)
    for second in range(8 * 3600):
        timeline.at(BEGAN + second).sent += 1
    assert len(timeline.buckets) <= BUCKETS
    assert timeline.width == 64
    assert sum(bucket.sent for bucket in timeline.buckets) == 8 * 3600
    assert timeline.buckets[0].sent == 64
    assert timeline.at(BEGAN - 5) is timeline.buckets[0]


def test_eight_hours_need_little_memory() -> None:
    """With fewer requests than at the default rate: what is kept depends on time and losses, and not on requests."""
    tracemalloc.start()
    requests = RouteRequests(BEGAN, {GATEWAY})
    for second in range(0, 8 * 3600, 2):
        reason = "HTTP 503 (UF)" if second % 20 == 0 else ""
        requests.add(Sample(BEGAN + second, 0.01, reason, GATEWAY))
        requests.release(BEGAN + second - 15)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 2_000_000
    assert requests.sent > 14_000
    assert len(requests.losses) == LOSSES


def test_each_request_belongs_to_the_phase_in_which_it_began() -> None:
    phases = PhaseLog([Phase("istiod", BEGAN + 1, BEGAN + 2), Phase("gateway", BEGAN + 2.5)])
    requests = RouteRequests(BEGAN, {GATEWAY}, phases)
    for n in range(100):
        requests.add(lost(n) if 55 <= n < 65 else answered(n, "10.10.0.7:5000" if n == 30 else GATEWAY))
    requests.close(BEGAN + 5)
    istiod, gateway = requests.by_phase[0], requests.by_phase[1]
    assert (istiod.sent, istiod.lost, istiod.longest) == (21, 0, 0.0)
    assert istiod.wrong_paths.counts == {"10.10.0.7:5000": 1}
    assert istiod.wrong_seconds == pytest.approx(STEP)
    assert (gateway.sent, gateway.lost) == (50, 10)
    assert gateway.longest == pytest.approx(10 * STEP)
    assert gateway.reasons.counts == {"HTTP 503 (UF)": 10}
    assert gateway.wrong_seconds == 0
