"""Deadlines are scaled together, and what the user sees is not."""

from __future__ import annotations

import pytest

from splithorizon.base.timeouts import Timeouts, current, shortened


def test_deadlines_are_scaled_and_what_the_user_sees_stays() -> None:
    known, scaled = Timeouts(), Timeouts().scaled(0.5)
    assert (scaled.small_command, scaled.fault_healed) == (known.small_command / 2, known.fault_healed / 2)
    assert (scaled.heartbeat, scaled.poll) == (known.heartbeat, known.poll)


def test_what_is_shortened_is_as_before_afterwards_however_it_ends() -> None:
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
