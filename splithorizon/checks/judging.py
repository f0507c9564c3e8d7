"""What a check answers: its evidence, or a refutation that teaches.

None of them passes on no samples.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.topology import Route, Way
from splithorizon.traffic.requests import Reply

SHOWN = 3
NO_CAUSE = "not known: what this check saw points at no cause; the command shows more"
_OK = 200
# Of a proxy's own words, as many characters as tell one reason from another.
_SAID = 60


@dataclass(frozen=True)
class PathCount:
    """How many replies took one way: to one upstream host, with one version that answered and one set of flags."""

    way: Way
    version: str
    """The version that answered; empty if none did."""
    address: str
    """The upstream host in the log of the client's sidecar; empty if it had none."""
    flags: str
    """Envoy's response flags; empty if it set none."""
    count: int
    expected: bool
    """Whether replies of this version take this way in a sound mesh."""


@dataclass(frozen=True)
class Evidence:
    """What a check looked at when it found its claim true."""

    claim: str
    key_number: str
    numbers: Mapping[str, float | str] = field(default_factory=dict)
    expected_interval: tuple[int, int] | None = None
    sample_lines: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    paths: tuple[PathCount, ...] = ()


def by_name(groups: Iterable[frozenset[str]]) -> dict[str, frozenset[str]]:
    """Groups of versions that are counted together, by what a report calls each: ``v1``, or ``v1+v2``."""
    return dict(sorted(("+".join(sorted(group)), group) for group in groups))


def first_of(problems: Sequence[object]) -> str:
    """The first of them in a line, and how many there are where some are not shown."""
    return "; ".join(map(str, problems[:SHOWN])) + (f"; {len(problems)} in all" if len(problems) > SHOWN else "")


class CheckFailed(AssertionError):
    """A claim about the mesh is refuted.

    ``causes`` are those that the check's own evidence cannot tell apart, likeliest first; none where it points at none.
    """

    def __init__(
        self,
        claim: str,
        *,
        expected: str,
        seen: str,
        samples: int,
        causes: Sequence[Cause],
        next_command: str,
        where: Route | str,
        numbers: Mapping[str, float | str] | None = None,
        expected_interval: tuple[int, int] | None = None,
        paths: Sequence[PathCount] = (),
    ) -> None:
        """State everything a reader needs to go on.

        ``next_command`` tells several causes apart; a single cause has its own next step, about the clusters of
        ``where``: a route, or one cluster's name.
        """
        self.claim = claim
        self.expected = expected
        self.seen = seen
        self.samples = samples
        self.causes = tuple(causes)
        self.likely_cause = _likely(self.causes)
        self.next_command = _next_step(self.causes, where) or next_command
        self.numbers = dict(numbers or {})
        self.expected_interval = expected_interval
        self.paths = tuple(paths)
        super().__init__(
            f"{claim}\n  expected: {expected}\n  seen:     {seen}\n  samples:  {samples}\n"
            f"  likely:   {self.likely_cause}\n  try:      {self.next_command}"
        )

    @property
    def cause_ids(self) -> tuple[str, ...]:
        """The ids of the causes, as reports and faults know them."""
        return tuple(cause.id for cause in self.causes)


def _likely(causes: Sequence[Cause]) -> str:
    """Every cause by its text, or by its id where there are too many to read."""
    if len(causes) > SHOWN:
        return f"one of {len(causes)}, which this check cannot tell apart: {', '.join(cause.id for cause in causes)}"
    return "; or ".join(cause.text for cause in causes) or NO_CAUSE


def _next_step(causes: Sequence[Cause], where: Route | str) -> str:
    """The command of the only cause; empty where there are several, or none, or it has none."""
    if len(causes) != 1:
        return ""
    near, far = (where.near, where.far) if isinstance(where, Route) else (where, where)
    return causes[0].next_step.format(near=near, far=far)


def require_samples(samples: Sequence[object], what: str) -> None:
    """Raise EnvironmentBroke for none at all: nothing was looked at, so nothing can be said."""
    if not samples:
        raise EnvironmentBroke(f"there are no {what} to judge by", seen="0 samples")


def either(addresses: Collection[str]) -> str:
    """Addresses as a sentence has them."""
    return " or ".join(sorted(addresses)) or "nothing known"


def why_lost(reply: Reply) -> str:
    """What became of a request that helloworld did not answer, in the words of the proxy that did."""
    if reply.error:
        # curl says after how many milliseconds: without that, a thousand time-outs are of one kind.
        return re.sub(r" after \d+ (ms|milliseconds)", "", reply.error)
    if reply.status == _OK:
        return f"HTTP {_OK} not from helloworld"
    said = " ".join(reply.body.split())[:_SAID]
    return f"HTTP {reply.status}" + (f" ({said})" if said else "")
