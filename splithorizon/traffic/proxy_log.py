"""Reads the access log of a pod's proxy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube.client import Kube
from splithorizon.traffic import access_log
from splithorizon.traffic.access_log import AccessLogLine

_CONTAINER = "istio-proxy"


def whole_second_before() -> datetime:
    """The time from which to read the log of requests that are sent next.

    Two seconds in the past, because the kubelet rounds to whole seconds and its clock may differ from this machine's.
    """
    return datetime.now(UTC) - timedelta(seconds=2)


class AccessLogUnreadable(EnvironmentBroke):
    """An access log has lines in an unknown format."""


class LogRotated(EnvironmentBroke):
    """A log was rotated while a batch was sent: its first part is not read any more."""


class AccessLogSilent(EnvironmentBroke):
    """An access log has no line of any request of a batch."""


@dataclass(frozen=True)
class ProxyLog:
    """The access log that a proxy's container writes to its standard output."""

    kube: Kube
    namespace: str
    pod: str

    def lines(
        self, since: datetime, *, request_ids: Sequence[str] = (), about: str = "", limit: int | None = None
    ) -> tuple[AccessLogLine, ...]:
        """The lines since a time; a line with one of the request ids is part of the access log in any format.

        Raises AccessLogUnreadable if a line that contains ``about`` has an unknown format; ``about`` excludes the lines
        of other traffic. Raises TooLarge if more than ``limit`` bytes were logged since.
        """
        since_time = since.isoformat(timespec="seconds")
        text = self.kube.logs(self.pod, self.namespace, _CONTAINER, since_time=since_time, limit=limit)
        log = access_log.parse(text, request_ids=request_ids)
        if unknown := [line for line in log.unknown if about in line]:
            raise AccessLogUnreadable(
                f"{self} has lines in an unknown format", seen=unknown[0], next_command=self.by_hand
            )
        return log.lines

    def require_whole(self, since: datetime) -> None:
        """Raise EnvironmentBroke if the log was rotated after ``since``: the kubelet reads only the newest file."""
        first = self.kube.log_begins(self.pod, self.namespace, _CONTAINER)
        if first and first > since:
            raise LogRotated(
                f"{self} was rotated while a batch was sent",
                seen=f"it begins at {first:%T} UTC; the kubelet rotates at 10 MiB by default (containerLogMaxSize)",
                next_command=f"{self.kube.kubectl} -n {self.namespace} delete pod {self.pod}",
            )

    @property
    def by_hand(self) -> str:
        """The command that shows the last lines."""
        return f"{self.kube.kubectl} -n {self.namespace} logs {self.pod} -c {_CONTAINER} --tail 5"

    def __str__(self) -> str:
        """The log, as error messages name it."""
        return f"the access log of {self.namespace}/{self.pod} in the {self.kube.cluster}"
