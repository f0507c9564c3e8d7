"""Follows the log of a container for as long as its pod is there, through everything that breaks the connection.

A lost API server, a restarted kubelet or a rotation of the log ends a connection. The next one asks for the lines since
the last that was seen; what the node no longer has by then is not seen, and shows as a gap in the numbers of its lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Kube

_LONGEST_LINE = 1 << 20
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)")


@dataclass(frozen=True)
class LogLine:
    """A line, and when it was written, in seconds since 1970 by the clock of the container's node."""

    stamp: float
    text: str


class LogFollower:
    """The log of one container, line by line, each once."""

    def __init__(self, kube: Kube, pod: str, namespace: str, container: str) -> None:
        """Name the container; nothing is read yet."""
        self._kube = kube
        self._pod = pod
        self._namespace = namespace
        self._container = container
        self._last = (0, 0)
        self.broken = 0
        """How often a connection broke or was refused."""

    def run(self, take: Callable[[LogLine], None], stop: Event) -> None:
        """Pass each line to ``take`` until the pod is gone or ``stop`` is set, which is seen at the next line."""
        while not stop.is_set():
            try:
                pieces = self._kube.follow_log(
                    self._pod, self._namespace, self._container, since=self._since, silence=timeouts().watch.log_silent
                )
                for line in self._new(pieces):
                    take(line)
                    if stop.is_set():
                        return
            except Refused as refused:
                if refused.status == 404:
                    return
                self.broken += 1
            except EnvironmentBroke:
                self.broken += 1
            stop.wait(timeouts().watch.log_asked_again)

    @property
    def _since(self) -> str:
        """The second of the last line, for the API takes whole seconds: its other lines come again, and are known."""
        seconds, _ = self._last
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z") if seconds else ""

    def _new(self, pieces: Iterable[bytes]) -> Iterator[LogLine]:
        for raw in _lines(pieces):
            stamp, _, text = raw.decode(errors="replace").partition(" ")
            moment = _moment(stamp)
            if moment is None or moment <= self._last:
                continue
            self._last = moment
            yield LogLine(moment[0] + moment[1] / 1e9, text)


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The whole lines; the last of a connection that ended within it comes again by the next one."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > _LONGEST_LINE:
            rest = b""


def _moment(stamp: str) -> tuple[int, int] | None:
    """Whole seconds and nanoseconds: a float would take two lines of one microsecond for the same."""
    match = _STAMP.fullmatch(stamp)
    if match is None:
        return None
    seconds = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
    return int(seconds.timestamp()), int((match[2] or "0").ljust(9, "0"))
