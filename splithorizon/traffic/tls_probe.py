"""What a TLS server serves to a stranger, and whom it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

if TYPE_CHECKING:
    from OpenSSL import SSL

REQUEST = b"GET /hello HTTP/1.1\r\nhost: helloworld\r\nconnection: close\r\n\r\n"
_PIECE = 65536


class Bytes(Protocol):
    """A connection: what it brings, until nothing comes any more; ``ending`` then says why."""

    ending: str

    def send(self, data: bytes) -> None:
        """Send bytes."""

    def receive(self) -> bytes:
        """Wait for bytes; none at all is the end."""


@dataclass(frozen=True)
class Credentials:
    """A certificate, those that lead from it to its root, and its key."""

    chain: tuple[x509.Certificate, ...]
    key: EllipticCurvePrivateKey


@dataclass(frozen=True)
class TlsProbeResult:
    """What came of one connection: the chain that was served, what was answered to a request, how it ended."""

    chain: tuple[x509.Certificate, ...] = ()
    answer: bytes = b""
    ending: str = ""

    @property
    def answered(self) -> bool:
        """Whether a single byte was answered to the request."""
        return bool(self.answer)

    def __str__(self) -> str:
        """As a sentence has it."""
        served = f"served {len(self.chain)} certificates" if self.chain else "served no certificate"
        first = self.answer[:40].partition(b"\r\n")[0].decode(errors="replace")
        return f"{served}, then answered {first!r}" if self.answered else f"{served}, then {self.ending}"


def probe(
    stream: Bytes, *, server_name: str, protocols: Sequence[bytes], credentials: Credentials | None = None
) -> TlsProbeResult:
    """Ask for a server by its name (SNI), send it one HTTP request, and read until the connection ends.

    Nothing is verified here: what is served is told, for a check to judge. In TLS 1.3 a server that demands a
    certificate says no only after the handshake, so that what matters is whether it answers the request.
    """
    from OpenSSL import SSL

    connection = _client(server_name, protocols, credentials)
    asked, answer, ending = False, b"", ""
    while not ending:
        try:
            if not asked:
                connection.do_handshake()
                connection.send(REQUEST)
                asked = True
            answer += connection.recv(_PIECE)
        except SSL.WantReadError:
            ending = _exchange(connection, stream)
        except SSL.ZeroReturnError:
            ending = "closed"
        except SSL.Error as error:
            ending = _told(error)
    chain = connection.get_peer_cert_chain(as_cryptography=True) or []
    return TlsProbeResult(tuple(chain), answer, ending)


def ask_in_plain_text(stream: Bytes) -> TlsProbeResult:
    """Send one HTTP request as it is, and read until the connection ends."""
    stream.send(REQUEST)
    answer = b"".join(iter(stream.receive, b""))
    return TlsProbeResult(answer=answer, ending=stream.ending)


def _client(server_name: str, protocols: Sequence[bytes], credentials: Credentials | None) -> SSL.Connection:
    from OpenSSL import SSL

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_alpn_protos(list(protocols))
    if credentials:
        leaf, *issuers = credentials.chain
        context.use_certificate(leaf)
        context.use_privatekey(credentials.key)
        for issuer in issuers:
            context.add_extra_chain_cert(issuer)
    connection = SSL.Connection(context)
    connection.set_tlsext_host_name(server_name.encode())
    connection.set_connect_state()
    return connection


def _exchange(connection: SSL.Connection, stream: Bytes) -> str:
    """Send what is to be sent, and take in what comes; tells how the connection ended, where it did."""
    from OpenSSL import SSL

    with suppress(SSL.WantReadError):
        while True:
            stream.send(connection.bio_read(_PIECE))
    came = stream.receive()
    if came:
        connection.bio_write(came)
    return stream.ending


def _told(error: SSL.Error) -> str:
    """OpenSSL's own words for why a connection ended, such as an alert."""
    reasons = [entry[-1] for entry in error.args[0]] if error.args else []
    return ", ".join(reasons) or type(error).__name__
