"""Reads the certificates that an istiod serves to proxies."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding

from splithorizon.diagnosis.reading.budget import Budget
from splithorizon.kube.client import Kube
from splithorizon.traffic import tls_probe

_PORT = 15012
_PROTOCOLS = (b"h2",)


def of_istiod(kube: Kube, namespace: str, pod: str, budget: Budget) -> str:
    """The chain that an istiod serves at its port for proxies, in PEM; empty where it serves none.

    Raises EnvironmentBroke where the port is not reached.
    """
    with kube.port_forward(pod, namespace, _PORT, within=budget.seconds) as stream:
        result = tls_probe.probe(stream, server_name=f"istiod.{namespace}.svc", protocols=_PROTOCOLS)
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in result.chain)
