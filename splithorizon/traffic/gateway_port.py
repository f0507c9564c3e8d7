"""The port by which one network's gateway takes in the other's traffic, as a stranger finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from splithorizon.base.timeouts import current as timeouts
from splithorizon.istio import names
from splithorizon.kube.client import Kube
from splithorizon.traffic import tls_probe, workloads
from splithorizon.traffic.gateway_stats import server_name
from splithorizon.traffic.tls_probe import Bytes, Credentials, TlsProbeResult

# What sidecars name among themselves (ALPN): on a port that takes plain text too, only this is taken for mutual TLS.
_PROTOCOLS = (b"istio",)
_NOBODY = "nobody"


@dataclass(frozen=True)
class GatewayPort:
    """Port 15443 of a gateway's pod; raises EnvironmentBroke where it is not reached, or never answers nor ends."""

    kube: Kube
    namespace: str
    pod: str
    workload_namespace: str

    def greet(self, credentials: Credentials | None = None) -> TlsProbeResult:
        """Ask for helloworld by its name, with a certificate or without one."""
        return self._greet(workloads.SERVICE, credentials)

    def greet_nobody(self) -> TlsProbeResult:
        """Ask for a service that there is not."""
        return self._greet(_NOBODY, None)

    def ask_in_plain_text(self) -> TlsProbeResult:
        """Send an HTTP request without TLS."""
        return self._through(tls_probe.ask_in_plain_text)

    def _greet(self, service: str, credentials: Credentials | None) -> TlsProbeResult:
        name = server_name(self.workload_namespace, service)
        return self._through(
            lambda stream: tls_probe.probe(stream, server_name=name, protocols=_PROTOCOLS, credentials=credentials)
        )

    def _through(self, ask: Callable[[Bytes], TlsProbeResult]) -> TlsProbeResult:
        within = timeouts().untrusted_client_refused
        with self.kube.port_forward(self.pod, self.namespace, names.GATEWAY_PORT, within=within) as stream:
            return ask(stream)
