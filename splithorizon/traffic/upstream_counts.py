"""What a sidecar counts of each endpoint of a Service, before and after a batch of requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

_EJECTED = "failed_outlier_check"


@dataclass(frozen=True)
class HostCounts:
    """The counters of one endpoint since it was added, under the names that Envoy gives them; all of them only grow."""

    cx_total: int = 0
    cx_connect_fail: int = 0
    rq_total: int = 0
    rq_error: int = 0
    rq_timeout: int = 0

    def since(self, earlier: HostCounts) -> HostCounts:
        """The increases since ``earlier``; one is negative where a counter went backwards."""
        return HostCounts(**{name: getattr(self, name) - getattr(earlier, name) for name in COUNTERS})

    @property
    def attempts(self) -> int:
        """Requests that were sent to the endpoint, and connections to it that failed before a request was."""
        return self.rq_total + self.cx_connect_fail


COUNTERS = tuple(field.name for field in fields(HostCounts))


@dataclass(frozen=True)
class Host:
    """One endpoint at one moment: its counters, its open connections, and whether outlier detection ejected it."""

    counts: HostCounts = HostCounts()
    open: int = 0
    ejected: bool = False

    @classmethod
    def of_envoy(cls, status: Mapping[str, Any]) -> Host:
        """Read a host status of Envoy's ``/clusters``; a counter without a value is 0."""
        values = {stat["name"]: int(stat.get("value", 0)) for stat in status.get("stats", [])}
        counts = HostCounts(**{name: values.get(name, 0) for name in COUNTERS})
        return cls(counts, values.get("cx_active", 0), bool(status["health_status"].get(_EJECTED)))


@dataclass(frozen=True)
class Hidden:
    """What a sidecar did at one endpoint beside the attempt that its access log has for each request.

    ``failed_connections`` are connections that were not made. ``resent`` are requests that were sent to it and ended
    nowhere in the log, because another attempt followed. ``on_old_connections`` are those of them that connections
    opened before the batch explain: the other side may close one that is idle just as a request is sent on it.
    """

    failed_connections: int = 0
    resent: int = 0
    on_old_connections: int = 0


UpstreamCounts = Mapping[tuple[str, str], Host]
"""The endpoints of a Service by Envoy cluster and address: a subset is a separate cluster, with the same addresses."""


@dataclass(frozen=True)
class Attempts:
    """The endpoints of a Service before and after a batch."""

    before: UpstreamCounts
    after: UpstreamCounts

    @property
    def broken_off(self) -> str:
        """Why increases mean nothing: an endpoint left, or a counter went backwards; empty where they do."""
        for place, host in self.before.items():
            where = f"{place[1]} in {place[0]}"
            if place not in self.after:
                return f"endpoint {where} left"
            grown = self.after[place].counts.since(host.counts)
            if lower := [name for name in COUNTERS if getattr(grown, name) < 0]:
                return f"{', '.join(lower)} of {where} went backwards"
        return ""

    @property
    def increases(self) -> Mapping[str, HostCounts]:
        """The increase at each address, over all of the Service's Envoy clusters; one that is new began with 0."""
        found: dict[str, Counter[str]] = {}
        for place, host in self.after.items():
            grown = host.counts.since(self.before.get(place, Host()).counts)
            found.setdefault(place[1], Counter()).update({name: getattr(grown, name) for name in COUNTERS})
        return {address: HostCounts(**counts) for address, counts in found.items()}

    @property
    def refused_at(self) -> Mapping[str, int]:
        """The addresses to which no connection was made, with the number of those that failed."""
        return {
            address: grown.cx_connect_fail
            for address, grown in self.increases.items()
            if grown.cx_connect_fail and not grown.rq_total
        }

    @property
    def failed_connections(self) -> int:
        """The connections to any address that were not made; 0 where the increases mean nothing."""
        return 0 if self.broken_off else sum(grown.cx_connect_fail for grown in self.increases.values())

    @property
    def served_at(self) -> frozenset[str]:
        """The addresses to which requests were sent."""
        return frozenset(address for address, grown in self.increases.items() if grown.rq_total)

    @property
    def open_before(self) -> Mapping[str, int]:
        """The connections to each address that were open before the batch."""
        found: Counter[str] = Counter()
        for (_, address), host in self.before.items():
            found[address] += host.open
        return found

    def hidden(self, ended_at: Mapping[str, int]) -> Mapping[str, Hidden]:
        """What the access log does not show; ``ended_at`` has the number of requests that it says ended where.

        Addresses at which everything is in the log are absent.
        """
        found = {}
        for address, grown in self.increases.items():
            if (more := grown.attempts - ended_at.get(address, 0)) <= 0:
                continue
            failed = min(more, grown.cx_connect_fail)
            old = min(more - failed, self.open_before.get(address, 0))
            found[address] = Hidden(failed, more - failed - old, old)
        return found

    @property
    def ejected(self) -> frozenset[str]:
        """The addresses that outlier detection kept out, before the batch or after it."""
        known = (*self.before.items(), *self.after.items())
        return frozenset(address for (_, address), host in known if host.ejected)


NOT_COUNTED = Attempts({}, {})
"""Of a batch around which no counters were read."""
