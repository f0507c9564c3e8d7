"""Replies joined to the log lines of the client's sidecar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, require_samples
from splithorizon.checks.next_steps import logs_of
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.topology import Route
from splithorizon.traffic.correlate import Matched, MatchedReply


def every_reply_matched(matched: Matched, route: Route) -> Evidence:
    """The sidecar logged exactly one line for every request."""
    require_samples(range(matched.requests), "requests")
    require_samples([*matched.pairs, *matched.ambiguous], "log lines: the access log is off")
    numbers: dict[str, float | str] = {
        "requests": matched.requests,
        "joined": len(matched.pairs),
        "unjoined": len(matched.unmatched) + len(matched.ambiguous),
        # Several routes of one client are judged by the same batch.
        "batch": matched.batch,
    }
    if matched.unmatched or matched.ambiguous:
        raise CheckFailed(
            f"{route}: every reply is joined to its own log line",
            expected=f"{matched.requests} of {matched.requests} joined",
            seen=f"{len(matched.pairs)} joined, {len(matched.unmatched)} without a line, "
            f"{len(matched.ambiguous)} with several",
            samples=matched.requests,
            causes=_why_unmatched(matched),
            next_command=logs_of(route.near),
            where=route,
            numbers=numbers,
        )
    return Evidence(
        f"{route}: every reply is joined to its own log line",
        f"{matched.requests} joined",
        numbers,
    )


def ways_of(pairs: Iterable[MatchedReply], total: int) -> str:
    """The most frequent ways of replies, with the version that answered and Envoy's flags, as text."""
    kinds = Counter(
        (
            pair.reply.version or "no answer",
            pair.line.upstream_host or "no upstream",
            pair.line.response_flags or "-",
        )
        for pair in pairs
    )
    return "; ".join(
        f"{count} of {total}: {version} from {host}" + (f" ({flags})" if flags != "-" else "")
        for (version, host, flags), count in kinds.most_common(SHOWN)
    )


def _why_unmatched(matched: Matched) -> tuple[Cause, ...]:
    if matched.ambiguous:
        return (causes.REQUEST_LOGGED_TWICE, causes.REQUEST_SENT_AGAIN)
    return (causes.LOG_LINES_DROPPED, causes.REQUEST_ID_CHANGED)
