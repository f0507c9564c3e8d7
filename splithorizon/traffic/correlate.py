"""Matches replies to lines of the sidecar's access log by request id."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from splithorizon.traffic.access_log import AccessLogLine
from splithorizon.traffic.requests import Reply


@dataclass(frozen=True)
class MatchedReply:
    """A reply and its access-log line, which has the upstream host of the request."""

    reply: Reply
    line: AccessLogLine


@dataclass(frozen=True)
class Matched:
    """The replies of a batch: those with exactly one line, those with none and those with several."""

    pairs: tuple[MatchedReply, ...]
    unmatched: tuple[Reply, ...]
    ambiguous: tuple[Reply, ...]

    @property
    def requests(self) -> int:
        """The number of requests."""
        return len(self.pairs) + len(self.unmatched) + len(self.ambiguous)

    @property
    def batch(self) -> str:
        """The name of the batch, with which its request ids begin; empty without a request."""
        replies = [*(pair.reply for pair in self.pairs[:1]), *self.unmatched[:1], *self.ambiguous[:1]]
        return replies[0].request_id.rpartition("-")[0] if replies else ""


def join(replies: Iterable[Reply], lines: Iterable[AccessLogLine]) -> Matched:
    """Match replies to lines by request id; other lines are ignored."""
    by_id: dict[str, list[AccessLogLine]] = defaultdict(list)
    for line in lines:
        if line.request_id is not None:
            by_id[line.request_id].append(line)
    pairs, unmatched, ambiguous = [], [], []
    for reply in replies:
        matches = by_id.get(reply.request_id, [])
        if not matches:
            unmatched.append(reply)
        elif len(matches) > 1:
            ambiguous.append(reply)
        else:
            pairs.append(MatchedReply(reply, matches[0]))
    return Matched(tuple(pairs), tuple(unmatched), tuple(ambiguous))
