"""What a reading's access logs say as a rule, for a diagnosis that no failed check asked for.

The log of a sound service has failures too: a rollout, a client that a policy is meant to refuse. Only what fails more
often than it succeeds bears witness there, and injected faults, which never come by chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from splithorizon.diagnosis import state
from splithorizon.diagnosis.reading.model import CLIENT, LogCount, Proxy, Reading

_FAILED = 400
_INJECTED = frozenset({"FI", "DI"})
# No flag at all, and a client that went away.
_NOT_THE_MESHS = frozenset({"", "DC"})


def without_rare_failures(reading: Reading) -> Reading:
    """The reading without those failures that are the exception at their place, an upstream or a host."""
    codes = _refused(reading)
    return replace(
        reading,
        clusters=tuple(
            replace(one, proxies=tuple(replace(proxy, log=prevailing(proxy, codes)) for proxy in one.proxies))
            for one in reading.clusters
        ),
    )


def exceptions(reading: Reading) -> list[str]:
    """A sentence on each kind of failure that ``without_rare_failures`` leaves out, the most frequent first."""
    codes = _refused(reading)
    found = [
        (line.count, cluster.name, proxy, line)
        for cluster in reading.clusters
        for proxy in cluster.proxies
        for line in proxy.log
        if line not in prevailing(proxy, codes)
    ]
    return [
        f"{count} requests of {name}'s {proxy.pod} to {_place(line)} ended with "
        f"{' '.join(part for part in (str(line.code), line.flags, line.details) if part)}; most there did not"
        for count, name, proxy, line in sorted(found, key=lambda one: -one[0])
    ]


def failing(reading: Reading) -> list[str]:
    """A sentence on each way in which requests of clients for the Service fail as a rule, by logs and counters."""
    found = [
        f"{line.count} requests of {client.name}'s {proxy.pod} to {_place(line)} ended with {line.code} {line.flags}"
        + (f" ({line.failure})" if line.failure else "")
        for client, proxy in state.clients(reading)
        for line in prevailing(proxy)
        if {*line.flags.split(",")} - _NOT_THE_MESHS and line.cluster.endswith(f"|{reading.host}")
    ]
    return found + [
        state.failed_to_connect(client, proxy, host)
        for client, proxy, host in state.held_hosts(reading)
        if host.never_answered
    ]


def prevailing(proxy: Proxy, codes: Collection[int] = ()) -> tuple[LogCount, ...]:
    """The lines of a log without failures that are fewer than the successes at the same place.

    ``codes`` are answers that prevail with a client: a server's log counts them, however many others it serves.
    """
    failed: Counter[str] = Counter()
    succeeded: Counter[str] = Counter()
    for line in proxy.log:
        for place in {_place(line), line.authority}:
            (failed if _is_failure(line) else succeeded)[place] += line.count
    return tuple(
        line
        for line in proxy.log
        if not _is_failure(line)
        or failed[_place(line)] > succeeded[_place(line)]
        or (proxy.kind != CLIENT and line.code in codes)
        or _INJECTED & {*line.flags.split(",")}
    )


def _refused(reading: Reading) -> frozenset[int]:
    """The codes by which clients are answered more often than well, at some upstream."""
    return frozenset(
        line.code
        for cluster in reading.clusters
        for proxy in cluster.of(CLIENT)
        for line in prevailing(proxy)
        if line.code >= _FAILED and line.upstream
    )


def _is_failure(line: LogCount) -> bool:
    return bool(line.flags) or line.code >= _FAILED


def _place(line: LogCount) -> str:
    """Where a request went, its upstream; for one that went nowhere the host that was asked for, or Envoy's cluster."""
    return line.upstream or line.authority or line.cluster
