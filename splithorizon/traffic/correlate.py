"""Joins every reply to the one line that its sidecar logged for it, by request id."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from splithorizon.traffic.access_log import AccessLogLine
from splithorizon.traffic.requests import Reply


@dataclass(frozen=True)
class JoinedReply:
    """A reply and the line that says where its request went."""

    reply: Reply
    line: AccessLogLine


@dataclass(frozen=True)
class Joined:
    """A batch: the replies with exactly one line each, those with none, and those with several."""

    pairs: tuple[JoinedReply, ...]
    unjoined: tuple[Reply, ...]
    ambiguous: tuple[Reply, ...]

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return len(self.pairs) + len(self.unjoined) + len(self.ambiguous)


def join(replies: Iterable[Reply], lines: Iterable[AccessLogLine]) -> Joined:
    """Join by request id; a line that no reply asks for is somebody else's."""
    by_id: dict[str, list[AccessLogLine]] = defaultdict(list)
    for line in lines:
        if line.request_id is not None:
            by_id[line.request_id].append(line)
    pairs, unjoined, ambiguous = [], [], []
    for reply in replies:
        found = by_id.get(reply.request_id, [])
        if not found:
            unjoined.append(reply)
        elif len(found) > 1:
            ambiguous.append(reply)
        else:
            pairs.append(JoinedReply(reply, found[0]))
    return Joined(tuple(pairs), tuple(unjoined), tuple(ambiguous))
