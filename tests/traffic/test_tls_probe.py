"""What a TLS server serves to a stranger, against real servers on the loopback."""

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
    """A TCP connection as greet takes it."""

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
    """A root, and what it certifies."""

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
        with socket.create_connection(server.getsockname(), timeout=10) as connection:
            yield Loopback(connection)
        thread.join()


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    """A server as a sidecar is: its own chain, and a client certificate of our root demanded."""
    served = OURS.credentials("spiffe://cluster.local/ns/sample/sa/default")
    (tmp_path / "key.pem").write_bytes(certificates.pem_of(served.key))
    (tmp_path / "chain.pem").write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in served.chain))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")
    made.load_verify_locations(cadata=OURS.root.public_bytes(Encoding.PEM).decode())
    made.verify_mode = ssl.CERT_REQUIRED
    made.set_alpn_protocols(["istio"])
    return made


def answering(context: ssl.SSLContext, names: list[object] | None = None) -> Serve:
    def serve(connection: socket.socket) -> None:
        context.sni_callback = lambda _, name, __: (names if names is not None else []).append(name)
        with context.wrap_socket(connection, server_side=True) as secured:
            if names is not None:
                names.append(secured.selected_alpn_protocol())
            secured.recv(65536)
            secured.sendall(ANSWER)

    return serve


def greeting(serve: Serve, credentials: Credentials | None = None) -> TlsProbeResult:
    with connected(serve) as stream:
        return tls_probe.probe(stream, server_name=NAME, protocols=[b"istio"], credentials=credentials)


def test_a_client_of_the_root_is_answered(context: ssl.SSLContext) -> None:
    names: list[object] = []
    found = greeting(answering(context, names), OURS.credentials(CLIENT))
    assert names == [NAME, "istio"]
    assert found.answer == ANSWER
    assert found.answered
    assert [one.subject.rfc4514_string() for one in found.chain] == ["", "CN=Root CA,O=Istio"]
    assert str(found) == "served 2 certificates, then answered 'HTTP/1.1 200 OK'"


@pytest.mark.parametrize(
    ("credentials", "ending"),
    # A foreign root of the very same name: the server takes it for its own, until it looks at the signature.
    [(None, "certificate required"), (FOREIGN.credentials(CLIENT), "decrypt error")],
    ids=["none", "of a foreign root"],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_stranger_reads_the_whole_chain_and_no_answer(
    context: ssl.SSLContext, version: ssl.TLSVersion, credentials: Credentials | None, ending: str
) -> None:
    context.minimum_version = context.maximum_version = version
    found = greeting(answering(context), credentials)
    assert len(found.chain) == 2
    assert not found.answered
    # TLS 1.2 has no alert of its own for a certificate that is missing.
    words = "handshake failure" if credentials is None and version is ssl.TLSVersion.TLSv1_2 else ending
    assert words in found.ending


def test_a_server_that_closes_serves_nothing() -> None:
    found = greeting(lambda connection: connection.shutdown(socket.SHUT_WR))
    assert (found.chain, found.answered, found.ending) == ((), False, "closed")
    assert str(found) == "served no certificate, then closed"


def test_a_server_without_tls_serves_nothing() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    found = greeting(serve)
    assert (found.chain, found.answered) == ((), False)
    assert "wrong version number" in found.ending


def test_plain_text_is_answered_as_it_is(context: ssl.SSLContext) -> None:
    def serve(connection: socket.socket) -> None:
        assert connection.recv(65536) == tls_probe.REQUEST
        connection.sendall(ANSWER)

    with connected(serve) as stream:
        assert tls_probe.ask_in_plain_text(stream).answer == ANSWER


def test_plain_text_at_a_tls_server_is_told_as_what_came_back(context: ssl.SSLContext) -> None:
    with connected(lambda connection: connection.shutdown(socket.SHUT_WR)) as stream:
        assert tls_probe.ask_in_plain_text(stream) == TlsProbeResult(ending="closed")
