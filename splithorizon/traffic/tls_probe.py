"""Probes a TLS server: the certificate chain that it serves, and whether it answers a request."""

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
    """A connection; ``ending`` is empty while it is open, and then says how it ended."""

    ending: str

    def send(self, data: bytes) -> None:
        """Send bytes."""

    def receive(self) -> bytes:
        """Wait for bytes; an empty result means that the connection has ended."""


@dataclass(frozen=True)
class Credentials:
    """A client certificate with the chain to its root, and its private key."""

    chain: tuple[x509.Certificate, ...]
    key: EllipticCurvePrivateKey


@dataclass(frozen=True)
class TlsProbeResult:
    """The result of one connection: the certificate chain of the server, its answer to a request, and how it ended."""

    chain: tuple[x509.Certificate, ...] = ()
    answer: bytes = b""
    ending: str = ""

    @property
    def answered(self) -> bool:
        """Whether the server sent at least one byte after the request."""
        return bool(self.answer)

    def __str__(self) -> str:
        """The result, as messages show it."""
        served = f"served {len(self.chain)} certificates" if self.chain else "served no certificate"
        first = self.answer[:40].partition(b"\r\n")[0].decode(errors="replace")
        return f"{served}, then answered {first!r}" if self.answered else f"{served}, then {self.ending}"


def probe(
    stream: Bytes, *, server_name: str, protocols: Sequence[bytes], credentials: Credentials | None = None
) -> TlsProbeResult:
    """Connect with an SNI, send one HTTP request, and read until the connection ends.

    The certificate of the server is not verified but returned. With TLS 1.3 a server refuses a client certificate only
    after the client has finished its handshake: only an answer to the request shows that the client is accepted.
    """
    from OpenSSL import SSL

    connection = _client(server_name, protocols, credentials)
    request_sent, answer, ending = False, b"", ""
    while not ending:
        try:
            if not request_sent:
                connection.do_handshake()
                connection.send(REQUEST)
                request_sent = True
            answer += connection.recv(_PIECE)
        except SSL.WantReadError:
            ending = _exchange(connection, stream)
        except SSL.ZeroReturnError:
            ending = "closed"
        except SSL.Error as error:
            ending = _reasons(error)
    chain = connection.get_peer_cert_chain(as_cryptography=True) or []
    return TlsProbeResult(tuple(chain), answer, ending)


def ask_in_plain_text(stream: Bytes) -> TlsProbeResult:
    """Send one HTTP request without TLS, and read until the connection ends."""
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
    """Send and receive pending TLS records; return how the connection ended, or an empty text."""
    from OpenSSL import SSL

    with suppress(SSL.WantReadError):
        while True:
            stream.send(connection.bio_read(_PIECE))
    received = stream.receive()
    if received:
        connection.bio_write(received)
    return stream.ending


def _reasons(error: SSL.Error) -> str:
    """OpenSSL's reasons for the end of a connection, such as an alert."""
    reasons = [entry[-1] for entry in error.args[0]] if error.args else []
    return ", ".join(reasons) or type(error).__name__
