"""A client in the mesh: sends a batch, and reads its side-car's log of it."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from splithorizon import turns, workloads
from splithorizon.durations import current as durations
from splithorizon.errors import EnvironmentBroke, TimedOut
from splithorizon.kube import Kube
from splithorizon.observations import exchange, joining, replies
from splithorizon.observations.exchange import Exchange, Protocol
from splithorizon.observations.joining import Joined
from splithorizon.observations.proxy import Endpoint, Proxy
from splithorizon.observations.proxy_log import AccessLogSilent, ProxyLog, whole_second_before
from splithorizon.observations.replies import Reply
from splithorizon.route import Route
from splithorizon.topology import Role
from splithorizon.waiting import NotYet, eventually

# The agent's own port. 15021 would not do: the client's Envoy listens there and answers for any address.
_AGENT_PORT = 15020
_ADDRESS = re.compile(r"^Address[^:]*:\s*(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class PodAddress:
    """A pod by name and address."""

    name: str
    ip: str

    @property
    def host(self) -> str:
        """The address as it stands in a URL."""
        return f"[{self.ip}]" if ":" in self.ip else self.ip


@dataclass(frozen=True)
class Attempt:
    """One request to a pod's own address, past every service; ``asked`` is its URL."""

    target: PodAddress
    asked: str
    status: int
    seconds: float
    error: str

    @property
    def reached(self) -> bool:
        """Whether the pod itself answered."""
        return self.status == 200


@dataclass(frozen=True)
class Sample:
    """A batch that was sent once, with what the client and its side-car saw of it."""

    route: Route
    replies: tuple[Reply, ...]
    joined: Joined


@dataclass(frozen=True)
class Client:
    """The sleep pod of one cluster."""

    kube: Kube
    namespace: str
    role: Role
    pod: str

    @classmethod
    def find(cls, kube: Kube, namespace: str, role: Role) -> Client:
        """Find the client's pod; raises EnvironmentBroke where there is none to send from."""
        pods = kube.list("Pod", namespace, f"app={workloads.CLIENT}")
        running = [pod for pod in pods if pod["status"].get("phase") == "Running"]
        if not running:
            raise EnvironmentBroke(
                f"no running client in the {role} cluster",
                seen=f"{len(pods)} pods with app={workloads.CLIENT} in {namespace}",
                next_command=f"{kube.kubectl} -n {namespace} get pods",
            )
        return cls(kube, namespace, role, running[0]["metadata"]["name"])

    @property
    def proxy(self) -> Proxy:
        """Its side-car."""
        return Proxy(self.kube, self.namespace, self.pod)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where its side-car sends requests for helloworld, as the side-car has it."""
        host = f"{workloads.SERVICE}.{self.namespace}.svc.cluster.local"
        return self.proxy.endpoints(f"outbound|{workloads.PORT}||{host}")

    def sample(self, route: Route, *, times: int, service: str = workloads.SERVICE) -> Sample:
        """Send ``times`` requests to a service of our namespace, each once, and join each to its log line."""
        begun = whole_second_before()
        found = self.send(times=times, service=service)
        expected = [reply.request_id for reply in found]
        return Sample(route, found, self._join([reply for reply in found if reply.ended], expected, begun))

    def send(self, *, times: int, service: str = workloads.SERVICE) -> tuple[Reply, ...]:
        """Send ``times`` requests to a service of our namespace, each once: what became of each."""
        batch = f"splithorizon-{secrets.token_hex(4)}"
        url = f"http://{service}.{self.namespace}:{workloads.PORT}/hello"
        within = durations().batch_sent
        command = replies.command(url, times=times, batch=batch, timeout=durations().request, within=within)
        with turns.sending(self.kube.kubeconfig):
            printed = self._execute(command, within=within + durations().small_command)
        return tuple(replies.parse(printed, replies.request_ids(batch, times)))

    def exchange(self, protocol: Protocol, *, times: int) -> tuple[Exchange, ...]:
        """Have ``times`` exchanges with helloworld by a protocol of its own, each once: what became of each."""
        longest = durations().request + exchange.WAIT_SECONDS
        printed = self._execute(
            exchange.command(protocol, self.namespace, times=times, timeout=longest), within=durations().batch_sent * 2
        )
        return exchange.parse(printed, times)

    @property
    def offered_protocols(self) -> bool:
        """Whether helloworld says that it answers by other protocols as well; Istio's own sample does not."""
        asked = f"http://{workloads.SERVICE}.{self.namespace}:{workloads.PORT}/hello"
        return "x-helloworld-protocols" in self._execute(["curl", "-qsSi", asked], within=durations().small_command)

    def dial_pod(self, target: PodAddress) -> Attempt:
        """Ask a pod's agent whether it is ready, in plain text and by the pod's own address."""
        return self._dial(target, f"http://{target.host}:{_AGENT_PORT}/healthz/ready")

    def ask_pod(self, target: PodAddress) -> Attempt:
        """Ask a pod of helloworld at its own address; in plain text, where this client has no side-car."""
        return self._dial(target, f"http://{target.host}:{workloads.PORT}/hello")

    def _dial(self, target: PodAddress, asked: str) -> Attempt:
        result = "%{http_code} %{time_total} %{errormsg}"
        script = 'curl -s -o /dev/null -m "$1" -w "$2" "$3" || true'
        printed = self._execute(
            ["sh", "-c", script, "sh", f"{durations().dial:g}", result, asked],
            within=durations().small_command,
        )
        status, seconds, *error = printed.split(maxsplit=2)
        return Attempt(target, asked, int(status), float(seconds), "".join(error))

    def resolve(self, host: str) -> frozenset[str]:
        """The addresses of a name as this cluster's DNS tells them; none where there is no such name.

        Raises EnvironmentBroke where the DNS gives no answer.
        """
        command = ["sh", "-c", 'busybox nslookup "$1" 2>&1 || true', "sh", host]

        def ask() -> frozenset[str]:
            told = self._execute(command, within=durations().small_command)
            # Before the first name it tells whom it asked.
            _, _, answer = told.partition("Name:")
            addresses = frozenset(_ADDRESS.findall(answer))
            if not addresses and "NXDOMAIN" not in told:
                raise NotYet(" ".join(told.split()))
            return addresses

        return eventually(f"the {self.role}'s DNS answers for {host}", ask, within=durations().name_told)

    def _execute(self, command: list[str], *, within: float) -> str:
        stdout, stderr, status = self.kube.execute(self.pod, self.namespace, workloads.CLIENT, command, within=within)
        if status:
            raise EnvironmentBroke(
                f"the client in the {self.role} cluster could not send",
                seen=f"exit status {status}: {stderr.strip()}",
                next_command=f"{self.kube.kubectl} -n {self.namespace} "
                f"exec {self.pod} -c {workloads.CLIENT} -- curl --version",
            )
        return stdout

    def _join(self, found: list[Reply], expected: list[str], begun: datetime) -> Joined:
        """Read the log until it holds the batch; it is flushed once a second.

        Raises AccessLogUnreadable for a log in no known format, AccessLogSilent for one with nothing of the batch at
        all, and EnvironmentBroke for one that was rotated meanwhile.
        """
        latest: Joined | None = None
        log = ProxyLog(self.kube, self.namespace, self.pod)

        def read() -> Joined:
            nonlocal latest
            latest = joining.join(found, log.lines(begun, request_ids=expected[:1]))
            if latest.unjoined:
                raise NotYet(f"{len(latest.pairs)} of {latest.requests} requests are in the log")
            return latest

        try:
            return eventually("every request is in the log", read, within=durations().log_flushed)
        except TimedOut as late:
            if latest is None or not latest.pairs:
                raise AccessLogSilent(
                    f"{log} holds none of {len(found)} requests", seen=late.seen, next_command=log.by_hand
                ) from None
            log.require_whole(begun)
            return latest
