"""The TLS probe, with real servers on the loopback interface."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from splithorizon.istio import certificates
from splithorizon.istio.certificates import Key
from splithorizon.traffic import tls_probe
from splithorizon.traffic.tls_probe import Credentials, TlsProbeResult

NAME = "outbound_.5000_._.helloworld.sample.svc.cluster.local"
ANSWER = b"HTTP/1.1 200 OK\r\n\r\nhello"
Serve = Callable[[socket.socket], None]


class Loopback:
    """A TCP connection for ``probe``."""

    def __init__(self, connection: socket.socket) -> None:
        self.ending = ""
        self._connection = connection

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._connection.sendall(data)

    def receive(self) -> bytes:
        try:
            data = self._connection.recv(65536)
        except ConnectionResetError:
            self.ending = "connection reset by peer"
            return b""
        self.ending = "" if data else "closed"
        return data


@dataclass(frozen=True)
class Authority:
    """A root certificate with its key, which signs workload certificates."""

    root: x509.Certificate
    key: Key

    @classmethod
    def make(cls) -> Authority:
        name, key = certificates.name("Root CA"), certificates.new_key()
        return cls(certificates.authority(name, key, issuer=name, issuer_key=key), key)

    def credentials(self, identity: str) -> Credentials:
        key = certificates.new_key()
        leaf = certificates.workload(identity, key, issuer=self.root.subject, issuer_key=self.key)
        return Credentials((leaf, self.root), key)


OURS, FOREIGN = Authority.make(), Authority.make()
CLIENT = "spiffe://cluster.local/ns/sample/sa/sleep"


@contextmanager
def connected(serve: Serve) -> Iterator[Loopback]:
    """Serve one connection in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        with socket.create_connection(server.getsockname(), timeout=60) as connection:
            yield Loopback(connection)
        thread.join()


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    """Like a sidecar: serves its own chain, and requires a client certificate of our root."""
    served = OURS.credentials("spiffe://cluster.local/ns/sample/sa/default")
    (tmp_path / "key.pem").write_bytes(certificates.pem_of(served.key))
    (tmp_path / "chain.pem").write_bytes(
        b"".join(certificate.public_bytes(Encoding.PEM) for certificate in served.chain)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")
    context.load_verify_locations(cadata=OURS.root.public_bytes(Encoding.PEM).decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["istio"])
    return context


def answering(context: ssl.SSLContext, names: list[object] | None = None) -> Serve:
    def serve(connection: socket.socket) -> None:
        context.sni_callback = lambda _, name, __: (names if names is not None else []).append(name)
        with context.wrap_socket(connection, server_side=True) as secured:
            if names is not None:
                names.append(secured.selected_alpn_protocol())
            secured.recv(65536)
            secured.sendall(ANSWER)

    return serve


def probe(serve: Serve, credentials: Credentials | None = None) -> TlsProbeResult:
    with connected(serve) as stream:
        return tls_probe.probe(stream, server_name=NAME, protocols=[b"istio"], credentials=credentials)


def test_a_client_with_a_certificate_of_the_root_is_answered(context: ssl.SSLContext) -> None:
    names: list[object] = []
    result = probe(answering(context, names), OURS.credentials(CLIENT))
    assert names == [NAME, "istio"]
    assert result.answer == ANSWER
    assert result.answered
    assert [certificate.subject.rfc4514_string() for certificate in result.chain] == ["", "CN=Root CA,O=Istio"]
    assert str(result) == "served 2 certificates, then answered 'HTTP/1.1 200 OK'"


@pytest.mark.parametrize(
    ("credentials", "ending"),
    # The foreign root has the same name: only the signature differs.
    [(None, "certificate required"), (FOREIGN.credentials(CLIENT), "decrypt error")],
    ids=["none", "of a foreign root"],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_untrusted_client_receives_the_complete_chain_and_no_answer(
    context: ssl.SSLContext, version: ssl.TLSVersion, credentials: Credentials | None, ending: str
) -> None:
    context.minimum_version = context.maximum_version = version
    result = probe(answering(context), credentials)
    assert len(result.chain) == 2
    assert not result.answered
    # TLS 1.2 has no alert for a missing certificate.
    words = "handshake failure" if credentials is None and version is ssl.TLSVersion.TLSv1_2 else ending
    assert words in result.ending


def test_a_server_that_closes_serves_no_certificate() -> None:
    result = probe(lambda connection: connection.shutdown(socket.SHUT_WR))
    assert (result.chain, result.answered, result.ending) == ((), False, "closed")
    assert str(result) == "served no certificate, then closed"


def test_a_server_without_tls_serves_no_certificate() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    result = probe(serve)
    assert (result.chain, result.answered) == ((), False)
    assert "wrong version number" in result.ending


def test_a_plain_text_answer_is_returned(context: ssl.SSLContext) -> None:
    def serve(connection: socket.socket) -> None:
        assert connection.recv(65536) == tls_probe.REQUEST
        connection.sendall(ANSWER)

    with connected(serve) as stream:
        assert tls_probe.ask_in_plain_text(stream).answer == ANSWER


def test_the_end_of_a_plain_text_connection_is_returned(context: ssl.SSLContext) -> None:
    with connected(lambda connection: connection.shutdown(socket.SHUT_WR)) as stream:
        assert tls_probe.ask_in_plain_text(stream) == TlsProbeResult(ending="closed")
