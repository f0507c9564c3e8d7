"""Whether more than small requests comes through, there and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from splithorizon import statistics
from splithorizon.by_hand import logs_of
from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, require_samples
from splithorizon.observations.exchange import Exchange, Protocol
from splithorizon.route import Route
from splithorizon.workloads import VERSION_OF

_MISNAMED = "the Service's port says another protocol in its name or appProtocol, and side-cars go by that"
_WHY_SPOILT = {
    Protocol.LARGE_BODY: "a filter limits bodies (an EnvoyFilter), or a connection through the gateway does not live "
    "to its end",
    Protocol.LONG_WAIT: "a rule limits how long a request may take (a VirtualService's timeout), or a proxy closes "
    "silent ones",
    Protocol.SILENCE: "a rule or a proxy closes connections that are silent (idleTimeout, ISTIO_META_IDLE_TIMEOUT) "
    "or old",
    Protocol.HTTP2: _MISNAMED,
    Protocol.TCP: _MISNAMED,
    Protocol.GRPC: _MISNAMED,
}


def carried(exchanges: Sequence[Exchange], route: Route, protocol: Protocol) -> Evidence:
    """Every exchange was as it should be, and both versions had a part in them."""
    require_samples(exchanges, "exchanges")
    counts = {version: sum(one.version == version for one in exchanges) for version in sorted(VERSION_OF.values())}
    spoilt = [one for one in exchanges if not (one.sound and one.version)]
    claim = f"{route}: {protocol} is carried"
    if spoilt or not all(counts.values()):
        said = Counter(f"{one.version or 'nobody'}: {one.said[:120] or 'no answer'}" for one in spoilt)
        shown = ", ".join(f"{version} {count}" for version, count in counts.items())
        raise CheckFailed(
            claim,
            expected=f"{len(exchanges)} of {len(exchanges)} as they should be, from both versions",
            seen=f"{len(exchanges) - len(spoilt)}; {shown}"
            + "".join(f"; {count} x {text}" for text, count in said.most_common(SHOWN)),
            samples=len(exchanges),
            likely_cause=_WHY_SPOILT[protocol]
            if spoilt
            else "one version is not reached by this protocol: the routing and discovery checks say whether by any",
            next_command=logs_of(route.near),
        )
    chance = 2 * statistics.miss(len(exchanges), 0.5)
    return Evidence(
        claim,
        f"{len(exchanges)} carried",
        {**counts, "chance_of_missing_one": chance},
        sample_lines=(exchanges[0].said,),
    )
