"""The one waiting verb: a claim, a probe, a deadline, and what was seen. There is no second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_before_delay,
    wait_exponential,
    wait_fixed,
)

from splithorizon.base.errors import TimedOut
from splithorizon.base.process import raise_if_cancelled
from splithorizon.base.timeouts import current as timeouts

T = TypeVar("T")


class NotYet(Exception):
    """A probe's answer while its claim is not true; the message is what it saw."""


class _Watch:
    """Remembers what a probe said, and since when it has said it."""

    def __init__(self) -> None:
        self.looks = 0
        self._begun = time.monotonic()
        self._first = self._last = ""
        self._changed = 0.0

    def saw(self, not_yet: NotYet) -> NotYet:
        text = str(not_yet)
        if text != self._last:
            self._changed = self.elapsed()
        self._first, self._last = self._first or text, text
        return not_yet

    def elapsed(self) -> float:
        return time.monotonic() - self._begun

    def told(self) -> str:
        if self._first == self._last:
            return f"{self._last}, from first to last"
        return f"{self._last}, unchanged since {self._changed:.1f} s; at first: {self._first}"


def eventually(
    claim: str, probe: Callable[[], T], *, within: float, every: float | None = None, successes: int = 1
) -> T:
    """Look until the probe answers, and return its answer: soon again at first, then every ``every`` seconds.

    With ``successes`` it has to answer that many times in a row, ``every`` seconds apart from the first. A probe raises
    NotYet with what it saw; anything else it raises surfaces at once. A probe bounds itself: no look is cut short.
    Raises TimedOut with the claim and what was seen, and Cancelled when the run is being stopped.
    """
    every = timeouts().poll if every is None else every
    watch = _Watch()
    in_a_row = 0

    def look() -> T:
        nonlocal in_a_row
        raise_if_cancelled()
        # A busy machine wakes up late, and may do so behind the deadline.
        if watch.looks and watch.elapsed() >= within:
            raise NotYet
        watch.looks += 1
        try:
            answer = probe()
        except NotYet as not_yet:
            in_a_row = 0
            raise watch.saw(not_yet) from None
        in_a_row += 1
        if in_a_row < successes:
            raise watch.saw(NotYet(f"true only {in_a_row} of {successes} times in a row"))
        return answer

    try:
        return Retrying(
            stop=stop_before_delay(within),
            # Much is true a moment after the first look; what is to stay true has to be seen over some time.
            wait=wait_exponential(multiplier=every / 4, max=every) if successes == 1 else wait_fixed(every),
            retry=retry_if_exception_type(NotYet),
            reraise=True,
        )(look)
    except NotYet:
        what = f"{claim}: not true within {within:g} s ({watch.looks} looks)"
        raise TimedOut(what, seen=watch.told()) from None
