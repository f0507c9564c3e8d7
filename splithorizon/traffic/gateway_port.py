"""Probes the port of an east-west gateway for traffic of the other network, as a client outside of the mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from splithorizon.base.timeouts import current as timeouts
from splithorizon.kube.client import Kube
from splithorizon.traffic import tls_probe, workloads
from splithorizon.traffic.gateway_stats import server_name
from splithorizon.traffic.tls_probe import Bytes, Credentials, TlsProbeResult

# The ALPN protocol of sidecars: a port that also accepts plain text treats only this one as mutual TLS.
_PROTOCOLS = (b"istio",)
_UNKNOWN_SERVICE = "nobody"


@dataclass(frozen=True)
class GatewayPort:
    """The port of a gateway's pod for other networks: 15443, unless its Service leads elsewhere.

    Every method raises EnvironmentBroke if the port is not reached, or if neither an answer nor an end comes in time.
    """

    kube: Kube
    namespace: str
    pod: str
    workload_namespace: str
    domain: str
    port: int

    def probe(self, credentials: Credentials | None = None) -> TlsProbeResult:
        """Probe with the SNI of helloworld, with a client certificate or without."""
        return self._probe(workloads.SERVICE, credentials)

    def probe_unknown_service(self) -> TlsProbeResult:
        """Probe with the SNI of a Service that does not exist."""
        return self._probe(_UNKNOWN_SERVICE, None)

    def ask_in_plain_text(self) -> TlsProbeResult:
        """Send an HTTP request without TLS."""
        return self._connect(tls_probe.ask_in_plain_text)

    def _probe(self, service: str, credentials: Credentials | None) -> TlsProbeResult:
        name = server_name(self.workload_namespace, self.domain, service)
        return self._connect(
            lambda stream: tls_probe.probe(stream, server_name=name, protocols=_PROTOCOLS, credentials=credentials)
        )

    def _connect(self, ask: Callable[[Bytes], TlsProbeResult]) -> TlsProbeResult:
        within = timeouts().untrusted_client_refused
        with self.kube.port_forward(self.pod, self.namespace, self.port, within=within) as stream:
            return ask(stream)
