"""The waiting verbs: what they answer, when they stop, and what they tell."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import pairwise

import pytest

from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.timeouts import Timeouts
from splithorizon.base.waiting import NotYet, eventually
from tests.support.child_python import line_of, running


def says(*answers: str) -> Callable[[], str]:
    """A probe that has not yet seen anything that ends in "…"; the last answer stays."""
    left: Iterator[str] = iter(answers)
    latest = ""

    def probe() -> str:
        nonlocal latest
        latest = next(left, latest)
        if latest.endswith("…"):
            raise NotYet(latest)
        return latest

    return probe


def test_the_first_answer_is_returned_at_once() -> None:
    begun = time.monotonic()
    assert eventually("a claim", says("here"), within=60, every=10) == "here"
    assert time.monotonic() - begun < 10, "not one interval later"


def test_what_becomes_true_is_waited_for() -> None:
    probe = says("none…", "one…", "two")
    begun = time.monotonic()
    assert eventually("a claim", probe, within=60, every=0.4) == "two"
    assert time.monotonic() - begun >= 0.3, "a quarter and a half of the interval"


def test_looks_grow_rarer_up_to_their_interval() -> None:
    looks: list[float] = []
    answer = says("0…", "1…", "2…", "3…", "4")

    def probe() -> str:
        looks.append(time.monotonic())
        return answer()

    assert eventually("a claim", probe, within=60, every=0.4) == "4"
    waits = [later - earlier for earlier, later in pairwise(looks)]
    assert all(least <= wait for least, wait in zip((0.1, 0.2, 0.4, 0.4), waits, strict=True))
    assert waits[0] < 0.4, "the second look comes soon"


def test_successes_in_a_row_are_an_interval_apart() -> None:
    begun = time.monotonic()
    eventually("it is stable", says("a"), within=60, every=0.2, successes=3)
    assert time.monotonic() - begun >= 0.4


def test_a_timeout_tells_what_was_seen_and_since_when() -> None:
    looks = []
    answer = says("no endpoint…", "no endpoint…", "1 of 2…")

    def probe() -> str:
        looks.append(time.monotonic())
        return answer()

    begun = time.monotonic()
    with pytest.raises(TimedOut) as caught:
        eventually("both are ready", probe, within=2, every=0.1)
    assert looks[-1] - begun < 2, "no look begins after the deadline"
    assert caught.value.what == f"both are ready: not true within 2 s ({len(looks)} looks)"
    told = re.fullmatch(r"1 of 2…, unchanged since (\d\.\d) s; at first: no endpoint…", caught.value.seen)
    assert told is not None
    assert float(told[1]) == pytest.approx(looks[2] - begun, abs=0.15)
    assert str(caught.value) == f"{caught.value.what}. Seen: {caught.value.seen}"
    assert isinstance(caught.value, EnvironmentBroke)
    assert caught.value.__suppress_context__, "no traceback of the machinery"


def test_a_wake_up_behind_the_deadline_is_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(seconds + 0.3))
    with pytest.raises(TimedOut, match=r"within 0\.3 s \(1 looks\)") as caught:
        eventually("a claim", says("nothing…", "there"), within=0.3, every=0.2)
    assert caught.value.seen == "nothing…, from first to last"


def test_what_never_changed_is_told_once() -> None:
    with pytest.raises(TimedOut, match=r"Seen: nothing…, from first to last$"):
        eventually("a claim", says("nothing…"), within=0.2, every=0.1)


@pytest.mark.parametrize("within", [0, 0.01])
def test_there_is_always_one_look(within: float) -> None:
    assert eventually("a claim", says("here"), within=within) == "here"
    with pytest.raises(TimedOut, match=r"\(1 looks\)"):
        eventually("a claim", says("gone…"), within=within)


def test_an_error_of_the_probe_is_no_timeout() -> None:
    looks = []

    def probe() -> None:
        looks.append(1)
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        eventually("a claim", probe, within=5, every=0.01)
    assert len(looks) == 1


def test_successes_have_to_be_in_a_row() -> None:
    probe = says("a", "b", "broken…", "c", "d", "e", "f")
    assert eventually("it is stable", probe, within=5, every=0.01, successes=3) == "e"


def test_a_row_that_is_too_short_is_told() -> None:
    with pytest.raises(TimedOut, match="Seen: true only 2 of 9 times in a row, unchanged since"):
        eventually("it is stable", says("a"), within=0.2, every=0.1, successes=9)


def test_a_run_that_is_being_stopped_waits_no_longer_except_to_clean_up() -> None:
    code = """
    import threading, time
    from splithorizon.base import process
    from splithorizon.base.errors import Cancelled
    from splithorizon.base.waiting import NotYet, eventually

    def never():
        raise NotYet("nothing")

    threading.Timer(0.5, process.cancel_all).start()
    begun = time.monotonic()
    try:
        eventually("a claim", never, within=60, every=0.1)
    except Cancelled:
        print("cancelled", flush=True)
    with process.cleaning_up():
        print(eventually("a claim", lambda: "cleaned", within=1), time.monotonic() - begun < 50)
    """
    with running(code) as child:
        assert [line_of(child) for _ in range(2)] == ["cancelled", "cleaned True"]


def test_a_slow_machine_gets_more_time_but_no_slower_looks() -> None:
    usual, slow = Timeouts(), Timeouts().scaled(2.5)
    assert slow.workload_ready == 2.5 * usual.workload_ready
    assert slow.cluster_deleted == 2.5 * usual.cluster_deleted
    assert (slow.poll, slow.heartbeat) == (usual.poll, usual.heartbeat)
    assert usual.scaled(1) == usual


def test_no_single_wait_for_the_mesh_is_longer_than_three_minutes() -> None:
    of_more = ("image", "package", "go_", "other_build", "suite_run", "test", "disruptive_test", "certificate")
    not_waited_for = ("namespace_expires",)
    waits = {k: v for k, v in asdict(Timeouts()).items() if not k.startswith(of_more + not_waited_for)}
    assert len(waits) >= 15
    assert max(waits.values()) <= 180
