"""A clock for ``eventually`` that moves only when something sleeps on it: waits take no time and are exact."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from splithorizon.base import waiting


class ManualClock(waiting.Clock):
    """Starts at 0. Each sleep ends ``late`` seconds too late, as on a loaded machine."""

    def __init__(self) -> None:
        self.time = 0.0
        self.late = 0.0
        self._actions: list[tuple[float, Callable[[], object]]] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds + self.late
        due = [action for time, action in self._actions if time <= self.time]
        self._actions = [(time, action) for time, action in self._actions if time > self.time]
        for action in due:
            action()

    def at(self, time: float, action: Callable[[], object]) -> None:
        """Call ``action`` in the sleep that reaches this time."""
        self._actions.append((time, action))

    @classmethod
    def installed(cls, monkeypatch: pytest.MonkeyPatch) -> ManualClock:
        """Replace the clock of ``eventually`` for one test."""
        clock = cls()
        monkeypatch.setattr(waiting, "_clock", clock)
        return clock
