"""How long a mesh took to reach a state: measured from the change that led there, and never a judgement."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from splithorizon.base.errors import TimedOut
from splithorizon.base.waiting import eventually
from splithorizon.istio.topology import Route
from splithorizon.traffic.client import Sample
from splithorizon.traffic.requests import Reply


@dataclass(frozen=True)
class Recovery:
    """A state that was waited for ``within`` seconds, and the cluster to look at where it was not reached.

    ``last_seen`` is what was there in its stead, empty where it was reached.
    """

    state: str
    seconds: float
    within: float
    cluster: str
    last_seen: str = ""

    @property
    def reached(self) -> bool:
        """Whether the state was there in time."""
        return not self.last_seen


@dataclass(frozen=True)
class Batch:
    """A sample, and the addresses by which the answers of each version had to come when it was sent.

    ``groups`` are the versions of which one has to be among the answers; by default each version is one.
    """

    sample: Sample
    paths: Mapping[str, frozenset[str]]
    groups: tuple[frozenset[str], ...] = ()


@dataclass(frozen=True)
class Traffic:
    """The replies to every request that the clients sent from before a disruption until after the recovery."""

    replies: Mapping[Route, tuple[Reply, ...]]
    recovery: Recovery


@dataclass(frozen=True)
class Replacement:
    """The pod that took another's place, and its cluster and version; its name is empty where none came."""

    cluster: str
    version: str
    pod: str
    recovery: Recovery


def measure(state: str, probe: Callable[[], object], *, since: float, within: float, cluster: str) -> Recovery:
    """Probe until the state is reached; ``since`` is when ``time.monotonic()`` said that the change began.

    A state that is not reached is a result too. Raises what else the probe raises.
    """
    left = since + within - time.monotonic()
    try:
        eventually(state, probe, within=max(left, 0))
    except TimedOut as late:
        return Recovery(state, time.monotonic() - since, within, cluster, late.seen)
    # The time may have been over before the first probe, or during the last.
    seconds = time.monotonic() - since
    return Recovery(state, seconds, within, cluster, "" if seconds <= within else "it was there, too late")
