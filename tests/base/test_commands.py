"""Commands that messages name, in a checkout; tests/repository/test_wheel.py has those of an installation."""

from __future__ import annotations

from splithorizon.base import commands


def test_a_checkout_sweeps_by_pytest() -> None:
    assert commands.sweep() == ["pytest", "--sweep"]
    assert commands.sweep("east", "west") == ["pytest", "--sweep", "--contexts", "east,west"]
