"""What a reading may cost is counted down and refused in the end."""

from __future__ import annotations

import pytest

from splithorizon.diagnosis.reading.budget import ANSWER_BYTES, Budget, Spent


def test_time_is_counted_down_and_ends() -> None:
    now = [100.0]
    budget = Budget(10, clock=lambda: now[0])
    assert budget.seconds == 10
    now[0] += 9
    assert budget.seconds == 1
    now[0] += 1
    with pytest.raises(Spent, match="not read within 10 s"):
        _ = budget.seconds


def test_bytes_are_counted_down_and_one_answer_has_a_bound_of_its_own() -> None:
    budget = Budget(10, 2 * ANSWER_BYTES)
    assert budget.limit == ANSWER_BYTES
    budget.spend(2 * ANSWER_BYTES - 7)
    assert budget.limit == 7
    budget.spend(7)
    assert budget.spent == 2 * ANSWER_BYTES
    with pytest.raises(Spent, match="share of bytes"):
        _ = budget.limit
