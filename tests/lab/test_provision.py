"""Which failure of several a set-up ends with."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.provision import _Steps
from splithorizon.base.errors import Cancelled, EnvironmentBroke


def raising(error: Exception, *after: threading.Event, says: threading.Event | None = None) -> None:
    for event in after:
        assert event.wait(30)
    if says is not None:
        says.set()
    raise error


def test_a_step_that_was_stopped_does_not_hide_why() -> None:
    stopped = threading.Event()
    with ThreadPoolExecutor() as pool:
        steps = _Steps(pool)
        first = steps.begin(lambda: raising(Cancelled("the run is being stopped"), says=stopped))
        cause = steps.begin(lambda: raising(EnvironmentBroke("kind failed"), stopped))
        for step in (first, cause):
            assert step.exception(30)
        with pytest.raises(EnvironmentBroke, match="kind failed"):
            steps.finish()


def test_of_several_failures_the_step_that_was_begun_first_counts() -> None:
    later = threading.Event()
    with ThreadPoolExecutor() as pool:
        steps = _Steps(pool)
        first = steps.begin(lambda: raising(EnvironmentBroke("the first"), later))
        second = steps.begin(lambda: raising(EnvironmentBroke("the second"), says=later))
        dependant = steps.begin(lambda: None, second)
        for step in (first, second, dependant):
            assert step.exception(30)
        with pytest.raises(EnvironmentBroke, match="the first"):
            steps.finish()


def test_steps_that_were_all_stopped_end_as_stopped() -> None:
    with ThreadPoolExecutor() as pool:
        steps = _Steps(pool)
        steps.begin(lambda: raising(Cancelled("the run is being stopped")))
        with pytest.raises(Cancelled):
            steps.finish()


def test_steps_that_ended_well_raise_nothing() -> None:
    done: list[str] = []
    with ThreadPoolExecutor() as pool:
        steps = _Steps(pool)
        need = steps.begin(lambda: done.append("first"))
        steps.begin(lambda: done.append("second"), need)
        steps.finish()
    assert done == ["first", "second"]
