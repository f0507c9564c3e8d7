"""What each proxy on the way of an answer logged of it, so joined that one hop leads to the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from splithorizon.observations.access_log import AccessLogLine
from splithorizon.observations.joining import JoinedReply
from splithorizon.observations.replies import Reply


@dataclass(frozen=True)
class Hops:
    """An answer from the far version, and one line of each proxy that it passed; None where there is no such line."""

    reply: Reply
    left: AccessLogLine
    """The near side-car's: where it sent the request."""
    passed: AccessLogLine | None
    """The far gateway's, of the connection by which the pod was reached."""
    arrived: AccessLogLine | None
    """The far pod's side-car's, of the same request."""

    @property
    def whole(self) -> bool:
        """Whether every proxy logged it."""
        return self.passed is not None and self.arrived is not None

    @property
    def came_from(self) -> str:
        """The address from which the far pod was asked; empty where that is not known."""
        return ((self.arrived and self.arrived.downstream_remote) or "").rpartition(":")[0]


def follow(
    answers: Iterable[JoinedReply], *, gateway: Iterable[AccessLogLine], pods: Iterable[AccessLogLine]
) -> tuple[Hops, ...]:
    """Join the far pod's line by the request's id, and the gateway's by the socket from which the pod was asked.

    That socket is the one end of a connection that both of its proxies name: what the gateway's line has for its
    own address towards the upstream, the pod's line has for the downstream's.
    """
    by_id = {line.request_id: line for line in pods if line.request_id}
    by_socket = {line.upstream_local: line for line in gateway if line.upstream_local}
    followed = []
    for answer in answers:
        arrived = by_id.get(answer.reply.request_id)
        passed = by_socket.get(arrived.downstream_remote or "") if arrived else None
        followed.append(Hops(answer.reply, answer.line, passed, arrived))
    return tuple(followed)
