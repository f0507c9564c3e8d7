"""A client in the mesh: sends a batch, and reads its sidecar's log of it."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio.topology import Route
from splithorizon.kube.client import Kube
from splithorizon.traffic import correlate, protocols, requests, sending, workloads
from splithorizon.traffic.correlate import Joined
from splithorizon.traffic.protocols import Protocol, ProtocolCall
from splithorizon.traffic.proxy import Endpoint, Proxy
from splithorizon.traffic.proxy_log import AccessLogSilent, ProxyLog, whole_second_before
from splithorizon.traffic.requests import Reply

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
    """A batch that was sent once, with what the client and its sidecar saw of it."""

    route: Route
    replies: tuple[Reply, ...]
    joined: Joined


@dataclass(frozen=True)
class Client:
    """The sleep pod of one cluster."""

    kube: Kube
    namespace: str
    cluster: str
    pod: str

    @classmethod
    def find(cls, kube: Kube, namespace: str, cluster: str) -> Client:
        """Find the client's pod; raises EnvironmentBroke where there is none to send from."""
        pods = kube.list("Pod", namespace, f"app={workloads.CLIENT}")
        running = [pod for pod in pods if pod["status"].get("phase") == "Running"]
        if not running:
            raise EnvironmentBroke(
                f"no running client in the {cluster} cluster",
                seen=f"{len(pods)} pods with app={workloads.CLIENT} in {namespace}",
                next_command=f"{kube.kubectl} -n {namespace} get pods",
            )
        return cls(kube, namespace, cluster, running[0]["metadata"]["name"])

    @property
    def proxy(self) -> Proxy:
        """Its sidecar."""
        return Proxy(self.kube, self.namespace, self.pod)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where its sidecar sends requests for helloworld, as the sidecar has it."""
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
        within = timeouts().batch_sent
        command = requests.command(url, times=times, batch=batch, timeout=timeouts().request, within=within)
        with sending.sending(self.kube.kubeconfig):
            printed = self._execute(command, within=within + timeouts().small_command)
        return tuple(requests.parse(printed, requests.request_ids(batch, times)))

    def exchange(self, protocol: Protocol, *, times: int) -> tuple[ProtocolCall, ...]:
        """Have ``times`` exchanges with helloworld by a protocol of its own, each once: what became of each."""
        longest = timeouts().request + protocols.WAIT_SECONDS
        printed = self._execute(
            protocols.command(protocol, self.namespace, times=times, timeout=longest), within=timeouts().batch_sent * 2
        )
        return protocols.parse(printed, times)

    @property
    def offered_protocols(self) -> bool:
        """Whether helloworld says that it answers by other protocols as well; Istio's own sample does not."""
        asked = f"http://{workloads.SERVICE}.{self.namespace}:{workloads.PORT}/hello"
        return "x-helloworld-protocols" in self._execute(["curl", "-qsSi", asked], within=timeouts().small_command)

    def dial_pod(self, target: PodAddress) -> Attempt:
        """Ask a pod's agent whether it is ready, in plain text and by the pod's own address."""
        return self._dial(target, f"http://{target.host}:{_AGENT_PORT}/healthz/ready")

    def ask_pod(self, target: PodAddress) -> Attempt:
        """Ask a pod of helloworld at its own address; in plain text, where this client has no sidecar."""
        return self._dial(target, f"http://{target.host}:{workloads.PORT}/hello")

    def _dial(self, target: PodAddress, asked: str) -> Attempt:
        result = "%{http_code} %{time_total} %{errormsg}"
        script = 'curl -s -o /dev/null -m "$1" -w "$2" "$3" || true'
        printed = self._execute(
            ["sh", "-c", script, "sh", f"{timeouts().dial:g}", result, asked],
            within=timeouts().small_command,
        )
        status, seconds, *error = printed.split(maxsplit=2)
        return Attempt(target, asked, int(status), float(seconds), "".join(error))

    def resolve(self, host: str) -> frozenset[str]:
        """The addresses of a name as this cluster's DNS tells them; none where there is no such name.

        Raises EnvironmentBroke where the DNS gives no answer.
        """
        command = ["sh", "-c", 'busybox nslookup "$1" 2>&1 || true', "sh", host]

        def ask() -> frozenset[str]:
            told = self._execute(command, within=timeouts().small_command)
            # Before the first name it tells whom it asked.
            _, _, answer = told.partition("Name:")
            addresses = frozenset(_ADDRESS.findall(answer))
            if not addresses and "NXDOMAIN" not in told:
                raise NotYet(" ".join(told.split()))
            return addresses

        return eventually(f"the {self.cluster}'s DNS answers for {host}", ask, within=timeouts().name_told)

    def _execute(self, command: list[str], *, within: float) -> str:
        stdout, stderr, status = self.kube.execute(self.pod, self.namespace, workloads.CLIENT, command, within=within)
        if status:
            raise EnvironmentBroke(
                f"the client in the {self.cluster} cluster could not send",
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
            latest = correlate.join(found, log.lines(begun, request_ids=expected[:1]))
            if latest.unjoined:
                raise NotYet(f"{len(latest.pairs)} of {latest.requests} requests are in the log")
            return latest

        try:
            return eventually("every request is in the log", read, within=timeouts().log_flushed)
        except TimedOut as late:
            if latest is None or not latest.pairs:
                raise AccessLogSilent(
                    f"{log} holds none of {len(found)} requests", seen=late.seen, next_command=log.by_hand
                ) from None
            log.require_whole(begun)
            return latest
