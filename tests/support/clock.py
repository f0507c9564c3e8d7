"""A clock that stands still until a test moves it."""

from __future__ import annotations


class Clock:
    """Call it for the time in seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        """Begin at any moment: nothing may depend on it."""
        self.now = now

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let that much time pass."""
        self.now += seconds
