"""A clock for ``eventually`` that moves only when something sleeps on it: waits take no time and are exact."""

from __future__ import annotations

import pytest

from splithorizon.base import waiting


class ManualClock(waiting.Clock):
    """Starts at 0. ``late`` is by how many seconds each sleep ends too late, as on a loaded machine."""

    def __init__(self) -> None:
        self.time = 0.0
        self.late = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds + self.late

    @classmethod
    def installed(cls, monkeypatch: pytest.MonkeyPatch) -> ManualClock:
        """Replace the clock of ``eventually`` for one test."""
        clock = cls()
        monkeypatch.setattr(waiting, "_clock", clock)
        return clock
