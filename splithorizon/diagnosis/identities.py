"""Certificates as proxies hold them: for whom they are, and that a client did not trust one."""

from __future__ import annotations

from cryptography import x509

from splithorizon.diagnosis import state
from splithorizon.diagnosis.reading.model import Proxy, Reading
from splithorizon.istio import certificates

# In Envoy's words: the client's own verification, and the alert of a server that did not trust the client.
_NOT_TRUSTED = ("CERTIFICATE_VERIFY_FAILED", "UNKNOWN_CA", "CERTIFICATE_UNKNOWN")


def parsed(text: str) -> list[x509.Certificate]:
    """The certificates of a text in PEM; none where it cannot be parsed, as where nothing was read."""
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        return []


def of_proxy(proxy: Proxy) -> tuple[str, ...]:
    """The identities for which a proxy has a certificate; none where it was not read."""
    chain = parsed(proxy.certificate)
    return certificates.identities(chain[0]) if chain else ()


def unverified(reading: Reading) -> str:
    """A sentence on connections of clients that ended because a certificate was not trusted; empty without any."""
    for client, proxy in state.clients(reading):
        for line in state.logged(proxy, flags=("UF", "URX")):
            if any(said in line.failure for said in _NOT_TRUSTED):
                return f"{line.count} connections of {client.name}'s {proxy.pod} to {line.upstream}: {line.failure}"
    return ""
