"""The port by which one network's gateway takes in the other's traffic, as a stranger finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from splithorizon import workloads
from splithorizon.durations import current as durations
from splithorizon.kube import Kube
from splithorizon.mesh import gateway
from splithorizon.observations import tls
from splithorizon.observations.passage import server_name
from splithorizon.observations.tls import Bytes, Credentials, Greeting

# What side-cars name among themselves (ALPN): on a port that takes plain text too, only this is taken for mutual TLS.
_PROTOCOLS = (b"istio",)
_NOBODY = "nobody"


@dataclass(frozen=True)
class Doorway:
    """Port 15443 of a gateway's pod; raises EnvironmentBroke where it is not reached, or never answers nor ends."""

    kube: Kube
    namespace: str
    pod: str
    workload_namespace: str

    def greet(self, credentials: Credentials | None = None) -> Greeting:
        """Ask for helloworld by its name, with a certificate or without one."""
        return self._greet(workloads.SERVICE, credentials)

    def greet_nobody(self) -> Greeting:
        """Ask for a service that there is not."""
        return self._greet(_NOBODY, None)

    def ask_in_plain_text(self) -> Greeting:
        """Send an HTTP request without TLS."""
        return self._through(tls.ask_in_plain_text)

    def _greet(self, service: str, credentials: Credentials | None) -> Greeting:
        name = server_name(self.workload_namespace, service)
        return self._through(
            lambda stream: tls.greet(stream, server_name=name, protocols=_PROTOCOLS, credentials=credentials)
        )

    def _through(self, ask: Callable[[Bytes], Greeting]) -> Greeting:
        within = durations().stranger_refused
        with self.kube.port_forward(self.pod, self.namespace, gateway.PORT, within=within) as stream:
            return ask(stream)
