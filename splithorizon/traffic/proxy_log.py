"""Reads the access log of a pod's proxy."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube.client import Kube
from splithorizon.kube.pod_status import SIDECAR
from splithorizon.traffic import access_log
from splithorizon.traffic.access_log import AccessLogLine


@dataclass(frozen=True)
class Moment:
    """A moment from which logs are read, as the time since then: no clock of this machine is compared with others'."""

    at: float

    @classmethod
    def now(cls) -> Moment:
        """The moment before the requests that are sent next."""
        return cls(time.monotonic())

    @property
    def seconds(self) -> int:
        """The whole seconds since then, and one more, because a kubelet cuts off fractions."""
        return math.ceil(time.monotonic() - self.at) + 1


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
        self, since: Moment, *, request_ids: Sequence[str] = (), about: str = "", limit: int | None = None
    ) -> tuple[AccessLogLine, ...]:
        """The lines since a time; a line with one of the request ids is part of the access log in any format.

        Raises AccessLogUnreadable if a line that contains ``about`` has an unknown format; ``about`` excludes the lines
        of other traffic. Raises TooLarge if more than ``limit`` bytes were logged since.
        """
        text = self.kube.logs(self.pod, self.namespace, SIDECAR, since_seconds=since.seconds, limit=limit)
        log = access_log.parse(text, request_ids=request_ids)
        if unknown := [line for line in log.unknown if about in line]:
            raise AccessLogUnreadable(
                f"{self} has lines in an unknown format", seen=unknown[0], next_command=self.by_hand
            )
        return log.lines

    def require_whole(self, since: Moment) -> None:
        """Raise EnvironmentBroke if the log was rotated after ``since``: the kubelet reads only the newest file."""
        first, now = self.kube.log_begins(self.pod, self.namespace, SIDECAR)
        if first and first > now - timedelta(seconds=since.seconds):
            raise LogRotated(
                f"{self} was rotated while a batch was sent",
                seen=f"it begins at {first:%T} UTC; the kubelet rotates at 10 MiB by default (containerLogMaxSize)",
                next_command=f"{self.kube.kubectl} -n {self.namespace} delete pod {self.pod}",
            )

    @property
    def by_hand(self) -> str:
        """The command that shows the last lines."""
        return f"{self.kube.kubectl} -n {self.namespace} logs {self.pod} -c {SIDECAR} --tail 5"

    def __str__(self) -> str:
        """The log, as error messages name it."""
        return f"the access log of {self.namespace}/{self.pod} in the {self.kube.cluster}"
