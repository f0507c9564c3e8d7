"""Deadlines are scaled together; intervals and what others rely on are not."""

from __future__ import annotations

import pytest

from splithorizon.base.timeouts import Timeouts, current, shortened


@pytest.mark.parametrize("factor", [0.5, 2.5])
def test_deadlines_are_scaled_and_intervals_are_not(factor: float) -> None:
    usual, scaled = Timeouts(), Timeouts().scaled(factor)
    assert scaled.small_command == factor * usual.small_command
    assert scaled.workload_ready == factor * usual.workload_ready
    assert scaled.cluster_deleted == factor * usual.cluster_deleted
    assert scaled.fault_healed == factor * usual.fault_healed
    assert (scaled.poll, scaled.heartbeat) == (usual.poll, usual.heartbeat)
    assert usual.scaled(1) == usual


def test_the_timeouts_are_restored_after_the_block_also_after_an_error() -> None:
    before = current()
    seen = []

    def fail() -> None:
        with shortened(0.1):
            seen.append(current().fault_healed)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [pytest.approx(before.fault_healed / 10)]
    assert current() is before
