"""The only function that waits: it calls a probe until a claim is true or a deadline has passed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential, wait_fixed

from splithorizon.base.errors import TimedOut
from splithorizon.base.process import raise_if_cancelled
from splithorizon.base.timeouts import current as timeouts

T = TypeVar("T")


class NotYet(Exception):
    """Raised by a probe while its claim is not true; the message is what it observed."""


class Clock:
    """The time that ``eventually`` measures and spends, in seconds. Unit tests replace it."""

    def now(self) -> float:
        """The seconds of a clock that is never set back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


_clock = Clock()


def now() -> float:
    """The seconds of the clock that waits go by."""
    return _clock.now()


class _Observations:
    """The first and the last observation of a probe, and when the last one was first made."""

    def __init__(self) -> None:
        self.attempts = 0
        self._begun = _clock.now()
        self._first = self._last = ""
        self._changed = 0.0

    def add(self, not_yet: NotYet) -> NotYet:
        text = str(not_yet)
        if text != self._last:
            self._changed = self.elapsed()
        self._first, self._last = self._first or text, text
        return not_yet

    def elapsed(self) -> float:
        return _clock.now() - self._begun

    def summary(self) -> str:
        if self._first == self._last:
            return f"{self._last}, unchanged since the first attempt"
        return f"{self._last}, unchanged since {self._changed:.1f} s after the first attempt, which saw: {self._first}"


def eventually(
    claim: str, probe: Callable[[], T], *, within: float, every: float | None = None, successes: int = 1
) -> T:
    """Call ``probe`` until it returns, and return its result.

    ``within`` and ``every`` are seconds. The first attempts follow each other sooner than ``every``. With ``successes``
    above 1, the probe has to return that many times in a row, with ``every`` seconds between the attempts.
    The probe raises NotYet with its observation while the claim is not true; any other exception ends the wait at once.
    An attempt is never cut short: a probe needs deadlines for its requests.
    Raises TimedOut with the claim and the observations, and Cancelled if the run is cancelled.
    """
    every = timeouts().poll if every is None else every
    observations = _Observations()
    in_a_row = 0

    def attempt() -> T:
        nonlocal in_a_row
        raise_if_cancelled()
        # On a loaded machine a sleep may end after the deadline.
        if observations.attempts and observations.elapsed() >= within:
            raise NotYet
        observations.attempts += 1
        try:
            result = probe()
        except NotYet as not_yet:
            in_a_row = 0
            raise observations.add(not_yet) from None
        in_a_row += 1
        if in_a_row < successes:
            raise observations.add(NotYet(f"true only {in_a_row} of {successes} times in a row"))
        return result

    def next_is_late(state: RetryCallState) -> bool:
        return observations.elapsed() + state.upcoming_sleep >= within

    try:
        return Retrying(
            sleep=_clock.sleep,
            stop=next_is_late,
            # Most claims become true soon after the first attempt; a state that must last is observed over some time.
            wait=wait_exponential(multiplier=every / 4, max=every) if successes == 1 else wait_fixed(every),
            retry=retry_if_exception_type(NotYet),
            reraise=True,
        )(attempt)
    except NotYet:
        attempts = "1 attempt" if observations.attempts == 1 else f"{observations.attempts} attempts"
        what = f"{claim}: not true within {within:g} s ({attempts})"
        raise TimedOut(what, seen=observations.summary()) from None
