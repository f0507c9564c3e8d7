"""The clusters' clock counts where it differs from this machine's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from splithorizon.base import clock


@pytest.mark.parametrize("hours", [-5, 3])
def test_a_clock_that_differs_is_the_clusters(hours: int) -> None:
    clock.observe(datetime.now(UTC) + timedelta(hours=hours))
    assert abs(clock.now() - datetime.now(UTC) - timedelta(hours=hours)) < timedelta(minutes=1)


def test_whole_seconds_and_a_slow_answer_are_no_difference() -> None:
    clock.observe(datetime.now(UTC) + timedelta(hours=1))
    clock.observe(datetime.now(UTC) - timedelta(seconds=3))
    assert clock.difference() == timedelta()
