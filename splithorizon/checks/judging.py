"""What a check answers: its evidence, or a refutation that teaches.

None of them passes on no samples.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from splithorizon.errors import EnvironmentBroke
from splithorizon.observations.replies import Reply

SHOWN = 3
_OK = 200
# Of a proxy's own words, as many characters as tell one reason from another.
_SAID = 60


@dataclass(frozen=True)
class Evidence:
    """What a check looked at when it found its claim true."""

    claim: str
    key_number: str
    numbers: Mapping[str, float | str] = field(default_factory=dict)
    expected_interval: tuple[int, int] | None = None
    sample_lines: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


class CheckFailed(AssertionError):
    """A claim about the mesh is refuted."""

    def __init__(
        self,
        claim: str,
        *,
        expected: str,
        seen: str,
        samples: int,
        likely_cause: str,
        next_command: str,
        numbers: Mapping[str, float | str] | None = None,
    ) -> None:
        """State everything a reader needs to go on."""
        self.claim = claim
        self.expected = expected
        self.seen = seen
        self.samples = samples
        self.likely_cause = likely_cause
        self.next_command = next_command
        self.numbers = dict(numbers or {})
        super().__init__(
            f"{claim}\n  expected: {expected}\n  seen:     {seen}\n  samples:  {samples}\n"
            f"  likely:   {likely_cause}\n  try:      {next_command}"
        )


def require_samples(samples: Sequence[object], what: str) -> None:
    """Raise EnvironmentBroke for none at all: nothing was looked at, so nothing can be said."""
    if not samples:
        raise EnvironmentBroke(f"there are no {what} to judge by", seen="0 samples")


def either(addresses: Collection[str]) -> str:
    """Addresses as a sentence has them."""
    return " or ".join(sorted(addresses)) or "nothing known"


def why_lost(reply: Reply) -> str:
    """What became of a request that helloworld did not answer, in the words of whoever did."""
    if reply.error:
        # curl says after how many milliseconds: without that, a thousand time-outs are of one kind.
        return re.sub(r" after \d+ (ms|milliseconds)", "", reply.error)
    if reply.status == _OK:
        return f"HTTP {_OK} not from helloworld"
    said = " ".join(reply.body.split())[:_SAID]
    return f"HTTP {reply.status}" + (f" ({said})" if said else "")
