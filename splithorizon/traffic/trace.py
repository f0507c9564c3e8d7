"""What each proxy on the way of an answer logged of it, so joined that one hop leads to the next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from splithorizon.traffic.access_log import AccessLogLine
from splithorizon.traffic.correlate import JoinedReply
from splithorizon.traffic.requests import Reply


@dataclass(frozen=True)
class Hops:
    """An answer from the far version, and what each proxy that it passed logged of it; None where one has no line."""

    reply: Reply
    left: AccessLogLine
    """The near sidecar's: where it sent the request."""
    passed: AccessLogLine | None
    """The far gateway's, of the connection by which the pod was reached."""
    arrived: tuple[AccessLogLine, ...]
    """The far pods' sidecars', of the same request: one, where it arrived once."""

    @property
    def whole(self) -> bool:
        """Whether every proxy logged it."""
        return self.passed is not None and bool(self.arrived)

    @property
    def came_from(self) -> str:
        """The address from which the far pod was asked; empty where that is not known."""
        sockets = [line.downstream_remote or "" for line in self.arrived]
        return sockets[0].rpartition(":")[0].strip("[]") if sockets else ""


def follow(
    answers: Iterable[JoinedReply], *, gateway: Iterable[AccessLogLine], pods: Iterable[AccessLogLine]
) -> tuple[Hops, ...]:
    """Join the far pod's line by the request's id, and the gateway's by the socket from which the pod was asked.

    That socket is the one end of a connection that both of its proxies name: what the gateway's line has for its
    own address towards the upstream, the pod's line has for the downstream's.
    """
    by_id: dict[str, list[AccessLogLine]] = defaultdict(list)
    for line in pods:
        if line.request_id:
            by_id[line.request_id].append(line)
    by_socket = {line.upstream_local: line for line in gateway if line.upstream_local}
    followed = []
    for answer in answers:
        arrived = tuple(by_id.get(answer.reply.request_id, ()))
        sockets = [line.downstream_remote for line in arrived if line.downstream_remote]
        passed = next((by_socket[socket] for socket in sockets if socket in by_socket), None)
        followed.append(Hops(answer.reply, answer.line, passed, arrived))
    return tuple(followed)
