"""The client workload of a cluster: sends batches of requests, and reads the access log of its sidecar."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cryptography import x509

from splithorizon.base.addresses import bracketed
from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio.info import Address
from splithorizon.istio.names import DEFAULT_DOMAIN
from splithorizon.istio.topology import Route
from splithorizon.kube.client import Kube
from splithorizon.traffic import correlate, new_connections, protocols, requests, sending, workloads
from splithorizon.traffic.correlate import Matched
from splithorizon.traffic.new_connections import NewConnections
from splithorizon.traffic.protocols import Protocol, ProtocolCall
from splithorizon.traffic.proxy import Endpoint, Proxy
from splithorizon.traffic.proxy_log import AccessLogSilent, Moment, ProxyLog
from splithorizon.traffic.requests import Reply
from splithorizon.traffic.tls_probe import TlsProbeResult
from splithorizon.traffic.upstream_counts import NOT_COUNTED, Attempts, Hidden

# The port of Istio's agent. On 15021 the client's own Envoy would answer for any address.
_AGENT_PORT = 15020
# The ports at which an agent dials istiod, and at which agents answer: requests to them leave the client's pod without
# its sidecar, by the annotation in manifests/workloads/sleep.yaml.
PAST_THE_SIDECAR = (15012, 15017, _AGENT_PORT)
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", re.DOTALL)
_ANNOUNCED = re.compile(r"^x-helloworld-protocols: *(\S+)", re.IGNORECASE | re.MULTILINE)
_ADDRESS = re.compile(r"^Address[^:]*:\s*(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class PodAddress:
    """The name and the IP address of a pod."""

    name: str
    ip: str

    @property
    def host(self) -> str:
        """The address as the host of a URL."""
        return bracketed(self.ip)


# Logs that had no line of a whole batch: who has waited for one once does not wait as long again.
_SILENT: set[ProxyLog] = set()


@dataclass(frozen=True)
class Attempt:
    """One request to the IP address of a pod, without a Service.

    ``asked`` is the URL; ``status`` is 0 without an answer.
    """

    target: PodAddress
    asked: str
    status: int
    seconds: float
    error: str

    @property
    def reached(self) -> bool:
        """Whether the pod answered with status 200."""
        return self.status == 200


@dataclass(frozen=True)
class Sample:
    """A batch of requests, with the replies, the lines of the sidecar's access log and what the sidecar counted."""

    route: Route
    replies: tuple[Reply, ...]
    matched: Matched
    attempts: Attempts = NOT_COUNTED
    """The endpoints of the Service just before the batch and just after it."""
    server_errors: int = 0
    """Answers with a 5xx status that pods of the service logged, beyond those that the client got.

    They are counted only where the sidecar sent more requests than the client: a rule may have it try again then.
    """

    @property
    def hidden(self) -> Mapping[str, Hidden]:
        """What the sidecar did beside the attempt that its log has for each request, by the endpoint's address."""
        return self.attempts.hidden(Counter(str(pair.line.upstream_host) for pair in self.matched.pairs))


@dataclass(frozen=True)
class Client:
    """The ``sleep`` pod of one cluster."""

    kube: Kube
    namespace: str
    cluster: str
    pod: str
    domain: str = DEFAULT_DOMAIN

    @classmethod
    def find(cls, kube: Kube, namespace: str, cluster: str, domain: str = DEFAULT_DOMAIN) -> Client:
        """Find the client's pod; raises EnvironmentBroke where there is none to send from."""
        pods = kube.list("Pod", namespace, f"app={workloads.CLIENT}")
        running = [pod for pod in pods if pod["status"].get("phase") == "Running"]
        if not running:
            raise EnvironmentBroke(
                f"no running client in the {cluster} cluster",
                seen=f"{len(pods)} pods with app={workloads.CLIENT} in {namespace}",
                next_command=f"{kube.kubectl} -n {namespace} get pods",
            )
        return cls(kube, namespace, cluster, running[0]["metadata"]["name"], domain)

    @property
    def proxy(self) -> Proxy:
        """The sidecar of the client."""
        return Proxy(self.kube, self.namespace, self.pod)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The sidecar's endpoints for helloworld."""
        host = self._host_of(workloads.SERVICE)
        return self.proxy.endpoints(f"outbound|{workloads.PORT}||{host}")

    def sample(self, route: Route, *, times: int, service: str = workloads.SERVICE) -> Sample:
        """Send ``times`` requests to a Service of our namespace, without retries, and match each to its log line.

        Raises EnvironmentBroke where they are too slow to be sent, and neither a request nor a connection fails.
        """
        begun = Moment.now()
        replies, attempts = self.send_and_count(times=times, service=service)
        request_ids = [reply.request_id for reply in replies]
        matched = self._join([reply for reply in replies if reply.ended], request_ids, begun)
        return Sample(route, replies, matched, attempts)

    def send_and_count(self, *, times: int, service: str = workloads.SERVICE) -> tuple[tuple[Reply, ...], Attempts]:
        """Send ``times`` requests to a Service of our namespace; return the replies and the sidecar's attempts.

        Connections that fail make those requests slow which the sidecar then sends elsewhere. Where the batch ends
        early by that, the replies are those to the requests that were sent.
        Raises EnvironmentBroke where they are too slow to be sent, and neither a request nor a connection fails.
        """
        host = self._host_of(service)
        with sending.sending(self.kube.kubeconfig):
            # Read while no other batch is sent, or what is counted is not of this one.
            before = self.proxy.upstream_counts(host)
            replies = self._send(times, service, patient=False)
            attempts = Attempts(before, self.proxy.upstream_counts(host))
        sent = tuple(reply for reply in replies if reply.ended)
        if sent and attempts.failed_connections and all(reply.answered for reply in sent):
            return sent, attempts
        requests.require_all_sent(replies)
        return replies, attempts

    def send(self, *, times: int, service: str = workloads.SERVICE, patient: bool = False) -> tuple[Reply, ...]:
        """Send ``times`` requests to a Service of our namespace, without retries; return the reply to each.

        A batch in which requests hang, or take seconds, ends early, unless it is ``patient``: where losses are counted.
        """
        with sending.sending(self.kube.kubeconfig):
            return self._send(times, service, patient=patient)

    def _send(self, times: int, service: str, *, patient: bool) -> tuple[Reply, ...]:
        batch = f"splithorizon-{secrets.token_hex(4)}"
        url = f"http://{service}.{self.namespace}:{workloads.PORT}/hello"
        within = timeouts().batch_sent
        command = requests.command(
            url, times=times, batch=batch, timeout=timeouts().request, within=within,
            patience=0 if patient else max(1, timeouts().slow_requests),
        )  # fmt: skip
        printed = self._execute(command, within=within + timeouts().small_command)
        return tuple(requests.parse(printed, requests.request_ids(batch, times)))

    def connect(self, route: Route, versions: Mapping[str, str], *, rounds: int, near_at_once: int) -> NewConnections:
        """Send rounds of requests that each need a new connection: to the far version, and some to the near one.

        By the Services' addresses, so that no name is looked up. ``versions`` has each cluster's version;
        ``near_at_once`` is how many of a round go to the near version.
        Raises EnvironmentBroke where a Service is not there.
        """
        batch = f"splithorizon-{secrets.token_hex(4)}"
        services = [new_connections.service_of(versions[cluster]) for cluster in (route.far, route.near)]
        urls = [f"http://{self._address_of(service)}:{new_connections.PORT}/hello" for service in services]
        longest = timeouts().new_connection
        command = new_connections.command(*urls, rounds=rounds, batch=batch, timeout=longest, near_at_once=near_at_once)
        host = self._host_of(services[0])
        with sending.sending(self.kube.kubeconfig):
            before = self.proxy.upstream_counts(host)
            printed = self._execute(command, within=longest * rounds + timeouts().small_command)
            attempts = Attempts(before, self.proxy.upstream_counts(host))
        found = new_connections.parse(printed, route, rounds=rounds, batch=batch, near_at_once=near_at_once)
        return replace(found, attempts=attempts)

    def _host_of(self, service: str) -> str:
        """The name of a Service of our namespace in Istio."""
        return f"{service}.{self.namespace}.svc.{self.domain}"

    def _address_of(self, service: str) -> str:
        """The address of a Service of our namespace, as the host of a URL."""
        found = self.kube.get("Service", service, self.namespace)
        if found is None:
            raise EnvironmentBroke(
                f"there is no Service {service} in the {self.cluster} cluster",
                seen=f"nothing by that name in {self.namespace}: an earlier version of the suite made it",
                next_command=f"{self.kube.kubectl} -n {self.namespace} get services",
            )
        return PodAddress(service, found["spec"]["clusterIP"]).host

    def exchange(self, protocol: Protocol, *, times: int) -> tuple[ProtocolCall, ...]:
        """Call the echo Service ``times`` times by one protocol, without retries; return the result of each call."""
        longest = timeouts().request + protocols.WAIT_SECONDS
        printed = self._execute(
            protocols.command(protocol, self.namespace, times=times, timeout=longest), within=timeouts().batch_sent * 2
        )
        return protocols.parse(printed, times)

    @property
    def offered_protocols(self) -> frozenset[str]:
        """The protocols that helloworld announces it answers by as well; Istio's own sample announces none."""
        asked = f"http://{workloads.SERVICE}.{self.namespace}:{workloads.PORT}/hello"
        # A batch is counted by the sidecar as well, and this request must not be among it.
        with sending.sending(self.kube.kubeconfig):
            answer = self._execute(["curl", "-qsSi", asked], within=timeouts().small_command)
        announced = _ANNOUNCED.search(answer)
        return frozenset(announced[1].split(",")) if announced else frozenset()

    def dial_pod(self, target: PodAddress) -> Attempt:
        """Request the readiness of a pod's agent at the IP address of the pod, in plain text."""
        return self._dial(target, f"http://{target.host}:{_AGENT_PORT}/healthz/ready")

    def ask_pod(self, target: PodAddress) -> Attempt:
        """Request /hello at the IP address of a helloworld pod; in plain text if this client has no sidecar."""
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

    def begin_tls(self, address: Address, name: str) -> TlsProbeResult:
        """Begin TLS with an address under a server name, and return the chain that it serves without verifying it.

        Past the client's sidecar only at the ports of ``PAST_THE_SIDECAR``. The result has no answer.
        """
        # A gRPC server closes a connection without HTTP/2: by then it has served its certificate.
        command = ["curl", "-qsk", "--no-alpn", "-m", f"{timeouts().dial:g}", "-o", "/dev/null"]
        command += ["-w", "%{exitcode} %{errormsg}\n%{certs}", "--connect-to", f"{name}:{address.port}:{address}"]
        script = '"$@" || true'
        asked = f"https://{name}:{address.port}/"
        printed = self._execute(["sh", "-c", script, "sh", *command, asked], within=timeouts().small_command)
        said, _, certificates = printed.partition("\n")
        chain = [x509.load_pem_x509_certificate(one.encode()) for one in _CERTIFICATE.findall(certificates)]
        return TlsProbeResult(tuple(chain), ending=said.partition(" ")[2] or "closed")

    def resolve(self, host: str) -> frozenset[str]:
        """Resolve a name with the DNS of this cluster; an empty set if the name does not exist.

        Raises EnvironmentBroke if the DNS does not answer.
        """
        command = ["sh", "-c", 'busybox nslookup "$1" 2>&1 || true', "sh", host]

        def lookup() -> frozenset[str]:
            output = self._execute(command, within=timeouts().small_command)
            # The address of the DNS server comes before the first name.
            _, _, answer = output.partition("Name:")
            addresses = frozenset(_ADDRESS.findall(answer))
            if not addresses and "NXDOMAIN" not in output:
                raise NotYet(" ".join(output.split()))
            return addresses

        return eventually(f"the {self.cluster}'s DNS answers for {host}", lookup, within=timeouts().name_resolved)

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

    def _join(self, replies: list[Reply], request_ids: list[str], begun: Moment) -> Matched:
        """Read the log until it has a line for every reply; Envoy flushes it once a second.

        Raises AccessLogUnreadable for an unknown format, AccessLogSilent for a log without any line of the batch, and
        EnvironmentBroke for a log that was rotated meanwhile.
        """
        latest: Matched | None = None
        log = ProxyLog(self.kube, self.namespace, self.pod)

        def read() -> Matched:
            nonlocal latest
            latest = correlate.join(replies, log.lines(begun, request_ids=request_ids[:1]))
            if latest.unmatched:
                raise NotYet(f"{len(latest.pairs)} of {latest.requests} requests are in the log")
            return latest

        within = timeouts().log_flushed if log not in _SILENT else timeouts().log_looked_at_again
        try:
            found = eventually("every request is in the log", read, within=within)
        except TimedOut as timeout:
            if latest is None or not latest.pairs:
                _SILENT.add(log)
                raise AccessLogSilent(
                    f"{log} holds none of {len(replies)} requests", seen=timeout.seen, next_command=log.by_hand
                ) from None
            log.require_whole(begun)
            return latest
        _SILENT.discard(log)
        return found
