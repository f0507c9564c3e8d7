"""Whether more than small requests comes through, there and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from splithorizon.base import statistics
from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, by_name, require_samples
from splithorizon.checks.next_steps import logs_of
from splithorizon.diagnosis import causes
from splithorizon.istio.topology import Route
from splithorizon.traffic.protocols import Protocol, ProtocolCall

_WHY_SPOILT = {
    Protocol.LARGE_BODY: (causes.BODY_LIMITED, causes.CONNECTION_CUT),
    Protocol.LONG_WAIT: (causes.REQUEST_TIME_LIMITED, causes.SILENCE_LIMITED),
    Protocol.SILENCE: (causes.SILENCE_LIMITED,),
    Protocol.HTTP2: (causes.PORT_MISNAMED,),
    Protocol.TCP: (causes.PORT_MISNAMED,),
    Protocol.GRPC: (causes.PORT_MISNAMED,),
}


def carried(
    exchanges: Sequence[ProtocolCall], route: Route, protocol: Protocol, *, groups: Collection[frozenset[str]]
) -> Evidence:
    """Every exchange was as it should be, and each group of versions, which are counted together, answered some."""
    require_samples(exchanges, "exchanges")
    counts = {name: sum(one.version in group for one in exchanges) for name, group in by_name(groups).items()}
    spoilt = [one for one in exchanges if not (one.ok and one.version)]
    claim = f"{route}: {protocol} is carried"
    if spoilt or not all(counts.values()):
        said = Counter(f"{one.version or 'nobody'}: {one.output[:120] or 'no answer'}" for one in spoilt)
        shown = ", ".join(f"{version} {count}" for version, count in counts.items())
        raise CheckFailed(
            claim,
            expected=f"{len(exchanges)} of {len(exchanges)} as they should be, from every version",
            seen=f"{len(exchanges) - len(spoilt)}; {shown}"
            + "".join(f"; {count} x {text}" for text, count in said.most_common(SHOWN)),
            samples=len(exchanges),
            # A version without a part in it may lack it by every protocol: that is for the routing checks to say.
            causes=_WHY_SPOILT[protocol] if spoilt else (),
            next_command=logs_of(route.near),
            where=route,
        )
    total = sum(map(len, groups))
    chance = sum(statistics.miss(len(exchanges), len(group) / total) for group in groups)
    return Evidence(
        claim,
        f"{len(exchanges)} carried",
        {**counts, "chance_of_missing_one": chance},
        sample_lines=(exchanges[0].output,),
    )
