"""What a pod's proxy logged of requests and connections."""

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
    """Since when to read what is about to be logged: a kubelet takes whole seconds, and its clock need not be ours."""
    return datetime.now(UTC) - timedelta(seconds=2)


class AccessLogUnreadable(EnvironmentBroke):
    """An access log has lines in no known format."""


class AccessLogSilent(EnvironmentBroke):
    """An access log holds no line of any request that was sent."""


@dataclass(frozen=True)
class ProxyLog:
    """The access log of one proxy, as its container prints it."""

    kube: Kube
    namespace: str
    pod: str

    def lines(self, since: datetime, *, request_ids: Sequence[str] = (), about: str = "") -> tuple[AccessLogLine, ...]:
        """What was logged since then; a line with one of the request ids is of the access log, whatever it looks like.

        Raises AccessLogUnreadable where a line is in no known format; of a proxy that serves others too, where it is
        ``about`` what we sent.
        """
        asked = since.isoformat(timespec="seconds")
        text = self.kube.logs(self.pod, self.namespace, _CONTAINER, since_time=asked)
        log = access_log.parse(text, request_ids=request_ids)
        if unknown := [line for line in log.unknown if about in line]:
            raise AccessLogUnreadable(
                f"{self} is in no format that is known", seen=unknown[0], next_command=self.by_hand
            )
        return log.lines

    def require_whole(self, since: datetime) -> None:
        """The kubelet reads the newest file alone: raise EnvironmentBroke where it was begun after ``since``."""
        first = self.kube.log_begins(self.pod, self.namespace, _CONTAINER)
        if first and first > since:
            raise EnvironmentBroke(
                f"{self} was begun anew while a batch was sent",
                seen=f"its first line is of {first:%T} UTC; the kubelet keeps 10 MiB by default (containerLogMaxSize)",
                next_command=f"{self.kube.kubectl} -n {self.namespace} delete pod {self.pod}",
            )

    @property
    def by_hand(self) -> str:
        """The command that shows its end."""
        return f"{self.kube.kubectl} -n {self.namespace} logs {self.pod} -c {_CONTAINER} --tail 5"

    def __str__(self) -> str:
        """As a sentence has it."""
        return f"the access log of {self.namespace}/{self.pod} in the {self.kube.role}"
