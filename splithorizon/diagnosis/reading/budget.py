"""What a reading may cost: seconds and bytes, shared by every request of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from splithorizon.base.errors import EnvironmentBroke

READING_BYTES = 32 * 1024 * 1024
"""All of one reading: a mesh of 500 services fits in, with the endpoints of one of them."""
ANSWER_BYTES = 8 * 1024 * 1024
"""One answer; a larger one is left unread and reported."""


class Spent(EnvironmentBroke):
    """The reading has used up its time or its bytes; what is left is not read."""


class Budget:
    """Counts down; safe to share between threads."""

    def __init__(
        self, seconds: float, size: int = READING_BYTES, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin now."""
        self._clock = clock
        self._ends = clock() + seconds
        self._seconds = seconds
        self._bytes = self._size = size
        self._mutex = threading.Lock()

    @property
    def seconds(self) -> float:
        """The seconds that are left; raises Spent for none."""
        left = self._ends - self._clock()
        if left <= 0:
            raise Spent(f"not read within {self._seconds:g} s")
        return left

    @property
    def limit(self) -> int:
        """The bytes that one answer may have; raises Spent for none."""
        with self._mutex:
            left = self._bytes
        if left <= 0:
            raise Spent("not read: the reading has its share of bytes")
        return min(left, ANSWER_BYTES)

    @property
    def spent(self) -> int:
        """The bytes that were read."""
        with self._mutex:
            return self._size - self._bytes

    def spend(self, size: int) -> None:
        """Count an answer that was read."""
        with self._mutex:
            self._bytes -= size
