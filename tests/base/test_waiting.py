"""``eventually``: what it returns, when it stops, and what its error says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

import pytest

from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.timeouts import Timeouts
from splithorizon.base.waiting import NotYet, eventually
from tests.support.child_python import line_of, running
from tests.support.manual_clock import ManualClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    return ManualClock.installed(monkeypatch)


def returns(*results: str, attempts: list[float] | None = None, clock: ManualClock | None = None) -> Callable[[], str]:
    """A probe that raises NotYet for a result that ends in "…"; the last result is repeated."""
    left: Iterator[str] = iter(results)
    latest = ""

    def probe() -> str:
        nonlocal latest
        if attempts is not None and clock is not None:
            attempts.append(clock.now())
        latest = next(left, latest)
        if latest.endswith("…"):
            raise NotYet(latest)
        return latest

    return probe


def test_the_first_result_is_returned_without_a_sleep(clock: ManualClock) -> None:
    assert eventually("a claim", returns("here"), within=60, every=10) == "here"
    assert clock.now() == 0


def test_the_intervals_grow_up_to_every(clock: ManualClock) -> None:
    attempts: list[float] = []
    probe = returns("0…", "1…", "2…", "3…", "4", attempts=attempts, clock=clock)
    assert eventually("a claim", probe, within=60, every=0.4) == "4"
    assert attempts == pytest.approx([0, 0.1, 0.3, 0.7, 1.1])


def test_successes_in_a_row_are_an_interval_apart(clock: ManualClock) -> None:
    attempts: list[float] = []
    eventually("it is stable", returns("a", attempts=attempts, clock=clock), within=60, every=0.2, successes=3)
    assert attempts == pytest.approx([0, 0.2, 0.4])


def test_a_timeout_states_the_observations_and_since_when(clock: ManualClock) -> None:
    attempts: list[float] = []
    probe = returns("no endpoint…", "no endpoint…", "1 of 2…", attempts=attempts, clock=clock)
    with pytest.raises(TimedOut) as caught:
        eventually("both are ready", probe, within=2, every=0.8)
    assert attempts == pytest.approx([0, 0.2, 0.6, 1.4]), "the next one would be after the deadline"
    assert caught.value.what == "both are ready: not true within 2 s (4 attempts)"
    assert caught.value.seen == "1 of 2…, unchanged since 0.6 s after the first attempt, which saw: no endpoint…"
    assert str(caught.value) == f"{caught.value.what}. Seen: {caught.value.seen}"
    assert isinstance(caught.value, EnvironmentBroke)
    assert caught.value.__suppress_context__, "no traceback of tenacity"


def test_no_attempt_is_made_after_a_sleep_that_ended_behind_the_deadline(clock: ManualClock) -> None:
    clock.late = 0.3
    with pytest.raises(TimedOut, match=r"within 0\.3 s \(1 attempt\)") as caught:
        eventually("a claim", returns("nothing…", "there"), within=0.3, every=0.2)
    assert caught.value.seen == "nothing…, unchanged since the first attempt"


def test_an_observation_that_never_changed_is_stated_once(clock: ManualClock) -> None:
    with pytest.raises(TimedOut, match=r"Seen: nothing…, unchanged since the first attempt$"):
        eventually("a claim", returns("nothing…"), within=60, every=10)


@pytest.mark.parametrize("within", [0, 0.01])
def test_there_is_always_one_attempt(within: float, clock: ManualClock) -> None:
    assert eventually("a claim", returns("here"), within=within) == "here"
    with pytest.raises(TimedOut, match=r"\(1 attempt\)"):
        eventually("a claim", returns("gone…"), within=within)


def test_an_error_of_the_probe_is_raised_at_once(clock: ManualClock) -> None:
    attempts = []

    def probe() -> None:
        attempts.append(1)
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        eventually("a claim", probe, within=5, every=0.01)
    assert len(attempts) == 1


def test_successes_have_to_be_in_a_row(clock: ManualClock) -> None:
    probe = returns("a", "b", "broken…", "c", "d", "e", "f")
    assert eventually("it is stable", probe, within=5, every=0.01, successes=3) == "e"


def test_a_row_that_is_too_short_is_stated(clock: ManualClock) -> None:
    expected = r"Seen: true only 3 of 9 times in a row, unchanged since 0\.2 s after .* saw: true only 1 of 9"
    with pytest.raises(TimedOut, match=expected):
        eventually("it is stable", returns("a"), within=0.3, every=0.1, successes=9)


def test_the_usual_clock_is_that_of_the_machine() -> None:
    code = """
    import time
    from splithorizon.base.waiting import NotYet, eventually
    begun, attempts = time.monotonic(), iter((NotYet("not yet"), None))

    def probe():
        if error := next(attempts):
            raise error
        return time.monotonic() - begun

    print(eventually("a claim", probe, within=60, every=0.4) >= 0.1, flush=True)
    """
    with running(code) as child:
        assert line_of(child) == "True", "a quarter of the interval has passed"


def test_a_cancelled_run_waits_no_longer_except_to_clean_up() -> None:
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


def test_no_single_wait_for_the_mesh_is_longer_than_three_minutes() -> None:
    longer = ("image", "package", "go_", "other_build", "suite_run", "test", "disruptive_test", "certificate")
    ages = ("namespace_expires", "node_added")  # a node that a cloud adds is no part of the mesh
    every = asdict(Timeouts())
    every |= every.pop("watch")
    waits = {k: v for k, v in every.items() if not k.startswith(longer + ages)}
    assert len(waits) >= 15
    assert max(waits.values()) <= 180
