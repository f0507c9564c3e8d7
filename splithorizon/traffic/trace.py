"""Matches the access-log lines of one request in the client's sidecar, the gateway and the server's sidecar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

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
    rewritten: bool = False
    """Whether the pod saw another source port than the gateway had: the kernel changed it on the way."""

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
    answers: Iterable[MatchedReply],
    *,
    gateway: Iterable[AccessLogLine],
    pods: Iterable[AccessLogLine],
    server_name: str,
) -> tuple[Hops, ...]:
    """Match the far pod's line by the request id, and the gateway's line by the socket of its upstream connection.

    Both lines have this socket: the gateway's as the local address of the upstream connection, and the pod's as the
    remote address of the downstream connection. All ports of a pod are redirected to one of its sidecar, so the kernel
    changes the source port of a connection where another one, to another port of the pod, had the same before. Lines
    under the Service's own ``server_name`` (the SNI) that are left then are matched by both addresses, in the order of
    time: each line to one answer. A gateway takes a socket again for another Service, and a changed port may be one
    that another connection has: so a line under another name counts last.
    """
    by_id: dict[str, list[AccessLogLine]] = defaultdict(list)
    for line in pods:
        if line.request_id:
            by_id[line.request_id].append(line)
    own: dict[str, AccessLogLine] = {}
    others: dict[str, AccessLogLine] = {}
    for line in gateway:
        if line.upstream_local:
            (own if line.requested_server_name == server_name else others)[line.upstream_local] = line
    followed = [
        Hops(answer.reply, answer.line, None, tuple(by_id.get(answer.reply.request_id, ()))) for answer in answers
    ]
    return _by_socket(_by_addresses(_by_socket(followed, own), own), others)


def _by_socket(followed: Iterable[Hops], lines: Mapping[str, AccessLogLine]) -> tuple[Hops, ...]:
    """The answers, those without a gateway's line with the one that has the socket which the pod saw."""

    def at(hops: Hops) -> AccessLogLine | None:
        sockets = (line.downstream_remote or "" for line in hops.destination_log)
        return next((lines[socket] for socket in sockets if socket in lines), None)

    return tuple(hops if hops.gateway_log else replace(hops, gateway_log=at(hops)) for hops in followed)


def _by_addresses(followed: Sequence[Hops], lines: Mapping[str, AccessLogLine]) -> tuple[Hops, ...]:
    """The answers, those without a gateway's line with one that is left: of the same gateway, and to the same pod."""
    used = {hops.gateway_log.upstream_local for hops in followed if hops.gateway_log}
    left = sorted((line for socket, line in lines.items() if socket not in used), key=_began)
    found = dict(enumerate(followed))
    without = [(number, hops) for number, hops in found.items() if hops.gateway_log is None and hops.destination_log]
    for number, hops in sorted(without, key=lambda one: _began(one[1].destination_log[0])):
        pod = hops.destination_log[0].downstream_local
        fits = (line for line in left if pod and line.upstream_host == pod and _gateway(line) == hops.came_from)
        if line := next(fits, None):
            left.remove(line)
            found[number] = replace(hops, gateway_log=line, rewritten=True)
    return tuple(found.values())


def _began(line: AccessLogLine) -> str:
    return line.start_time or ""


def _gateway(line: AccessLogLine) -> str:
    return host_of(line.upstream_local or "")
