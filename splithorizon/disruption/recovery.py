"""How long a mesh took to come to a state: measured from the act that led there, and never a judgement."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from splithorizon.base.errors import TimedOut
from splithorizon.base.waiting import eventually
from splithorizon.istio.topology import Role, Route
from splithorizon.traffic.client import Sample
from splithorizon.traffic.requests import Reply


@dataclass(frozen=True)
class Recovery:
    """A state that was waited for ``within`` seconds; ``seen`` is what was there in its stead, empty where it came.

    ``role`` is the cluster to look at where it does not come.
    """

    state: str
    seconds: float
    within: float
    seen: str = ""
    role: Role = Role.PRIMARY

    @property
    def came(self) -> bool:
        """Whether the state was there in time."""
        return not self.seen


@dataclass(frozen=True)
class Batch:
    """A sample, and the addresses by which the answers of each version had to come when it was sent."""

    sample: Sample
    paths: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Traffic:
    """What became of every request that both clients sent from before a disruption until after the recovery."""

    replies: Mapping[Route, tuple[Reply, ...]]
    recovery: Recovery


@dataclass(frozen=True)
class Replacement:
    """The pod that took another's place; its name is empty where none came."""

    role: Role
    pod: str
    recovery: Recovery


def measure(
    state: str, probe: Callable[[], object], *, since: float, within: float, role: Role = Role.PRIMARY
) -> Recovery:
    """Look until the probe answers; ``since`` is when ``time.monotonic()`` said that it began.

    A state that does not come is an answer too. Raises what else the probe raises.
    """
    left = since + within - time.monotonic()
    try:
        eventually(state, probe, within=max(left, 0))
    except TimedOut as late:
        return Recovery(state, time.monotonic() - since, within, late.seen, role)
    # The time may have been over before the first look, or during the last.
    seconds = time.monotonic() - since
    return Recovery(state, seconds, within, "" if seconds <= within else "it was there, too late", role)
