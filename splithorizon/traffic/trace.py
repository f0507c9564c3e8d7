"""Matches the access-log lines of one request in the client's sidecar, the gateway and the server's sidecar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from splithorizon.base.addresses import host_of
from splithorizon.traffic.access_log import AccessLogLine
from splithorizon.traffic.correlate import MatchedReply
from splithorizon.traffic.requests import Reply


@dataclass(frozen=True)
class Hops:
    """An answer of the far version, with the line of each proxy on its path; None or empty if there is no line."""

    reply: Reply
    source_log: AccessLogLine
    """The line of the near sidecar, whose upstream host is the next hop."""
    gateway_log: AccessLogLine | None
    """The line of the far gateway for the connection that carried the request."""
    destination_log: tuple[AccessLogLine, ...]
    """The lines of the far pods' sidecars; more than one if the request arrived more than once."""

    @property
    def complete(self) -> bool:
        """Whether every proxy has a line."""
        return self.gateway_log is not None and bool(self.destination_log)

    @property
    def came_from(self) -> str:
        """The source address of the request at the far pod; empty if it is not known."""
        sockets = [line.downstream_remote or "" for line in self.destination_log]
        return host_of(sockets[0]) if sockets else ""


def follow(
    answers: Iterable[MatchedReply], *, gateway: Iterable[AccessLogLine], pods: Iterable[AccessLogLine]
) -> tuple[Hops, ...]:
    """Match the far pod's line by the request id, and the gateway's line by the socket of its upstream connection.

    Both lines have this socket: the gateway's as the local address of the upstream connection, and the pod's as the
    remote address of the downstream connection.
    """
    by_id: dict[str, list[AccessLogLine]] = defaultdict(list)
    for line in pods:
        if line.request_id:
            by_id[line.request_id].append(line)
    by_socket = {line.upstream_local: line for line in gateway if line.upstream_local}
    followed = []
    for answer in answers:
        destination_log = tuple(by_id.get(answer.reply.request_id, ()))
        sockets = [line.downstream_remote for line in destination_log if line.downstream_remote]
        gateway_log = next((by_socket[socket] for socket in sockets if socket in by_socket), None)
        followed.append(Hops(answer.reply, answer.line, gateway_log, destination_log))
    return tuple(followed)
