"""A forwarder on the loopback interface between the suite and an API server; it loses requests that a test selects.

It terminates TLS, so that it can read the head of each request. A client needs no credentials of the cluster: requests
are forwarded with the credentials of the kubeconfig that the forwarder was started with.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio import certificates

LOOPBACK = "127.0.0.1"
# The token that the suite sends: its format is not a known one, and the API server would refuse it.
TOKEN = "an-opaque-token-that-only-the-forwarder-takes"
_LARGEST_HEAD = 1 << 20


@dataclass(frozen=True)
class Request:
    """The first line of a request: the HTTP method, and the path with the query."""

    method: str
    path: str


def never(_: Request) -> bool:
    """Lose no request."""
    return False


@dataclass
class Forwarder:
    """Decides which requests are forwarded, and which are lost and added to ``lost``. Tests change it meanwhile."""

    port: int
    certificate: bytes
    lost: list[Request] = field(default_factory=list)
    _loses: Callable[[Request], bool] = never
    _count: float = 0
    _closed_by: Callable[[Request], bool] = never
    _away: bool = False

    @property
    def url(self) -> str:
        return f"https://{LOOPBACK}:{self.port}"

    @property
    def away(self) -> bool:
        """Whether every request is lost."""
        return self._away

    def lose(self, matching: Callable[[Request], bool], *, times: int) -> None:
        """Close the connection of the next ``times`` matching requests, instead of forwarding them."""
        self._loses, self._count = matching, times

    def await_lost(self, requests: int) -> None:
        """Wait until at least this number of requests are lost."""

        def require_lost() -> None:
            if len(self.lost) < requests:
                raise NotYet(f"{len(self.lost)} lost")

        eventually(f"{requests} requests are lost", require_lost, within=600)

    def go_away_at(self, matching: Callable[[Request], bool]) -> None:
        """Lose every request from the first matching one on, that one included."""
        self._closed_by = matching

    def come_back(self) -> None:
        """Forward every request again."""
        self._closed_by, self._away = never, False

    def write_kubeconfig(self, source: Path, context: str, target: Path) -> None:
        """Copy a kubeconfig, and replace the API server of one context by the forwarder and its user by a token."""
        content = yaml.safe_load(source.read_text())
        names = _entry(content, "context", context)
        authority = base64.b64encode(self.certificate).decode()
        _entry(content, "cluster", names["cluster"]).update(
            {"server": self.url, "certificate-authority-data": authority}
        )
        user = _entry(content, "user", names["user"])
        user.clear()
        user["token"] = TOKEN
        target.touch(mode=0o600)
        target.write_text(yaml.safe_dump(content))

    def passes(self, request: Request) -> bool:
        """Whether a request is forwarded; otherwise it is added to ``lost``."""
        if self._away or self._closed_by(request):
            self._away = True
        elif self._count > 0 and self._loses(request):
            self._count -= 1
        else:
            return True
        self.lost.append(request)
        return False


@contextmanager
def forwarding(kubeconfig: Path, context: str, folder: Path) -> Iterator[Forwarder]:
    """Forward to the API server of a context with its credentials; ``folder`` is for private keys during the start."""
    content = yaml.safe_load(kubeconfig.read_text())
    names = _entry(content, "context", context)
    server = urlsplit(_entry(content, "cluster", names["cluster"])["server"])
    upstream = _upstream(content, names, folder) if server.scheme == "https" else None
    authority, context_of_server = _server(folder)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    forwarder = Forwarder(0, authority)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _serve(forwarder, (server.hostname or LOOPBACK, server.port or 443, upstream), reader, writer)

    async def begin() -> asyncio.Server:
        return await asyncio.start_server(connected, LOOPBACK, 0, ssl=context_of_server, limit=_LARGEST_HEAD)

    async def end(listening: asyncio.Server) -> None:
        listening.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread.start()
    try:
        listening = asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
        forwarder.port = listening.sockets[0].getsockname()[1]
        try:
            yield forwarder
        finally:
            asyncio.run_coroutine_threadsafe(end(listening), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _serve(
    forwarder: Forwarder,
    server: tuple[str, int, ssl.SSLContext | None],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Forward one connection, request by request."""
    host, port, context = server
    try:
        from_server, to_server = await asyncio.open_connection(host, port, ssl=context, limit=_LARGEST_HEAD)
    except OSError:
        writer.transport.abort()
        return
    answers = asyncio.create_task(_copy(from_server, writer))
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            request, length, upgraded = _read_head(head)
            if not forwarder.passes(request):
                break
            to_server.write(head + await reader.readexactly(length))
            await to_server.drain()
            if upgraded:
                await _copy(reader, to_server)
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        pass
    finally:
        answers.cancel()
        for end in (writer, to_server):
            # Abort instead of close: the client must not take the end of the connection for an empty answer.
            end.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


def _read_head(head: bytes) -> tuple[Request, int, bool]:
    """The request, the length of its body, and whether the connection is upgraded to another protocol."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert "transfer-encoding" not in headers, "a body of unknown length cannot be followed"
    return Request(method, path), int(headers.get("content-length", 0)), "upgrade" in headers


def _entry(content: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    (body,) = (entry[kind] for entry in content[f"{kind}s"] if entry["name"] == name)
    return body  # type: ignore[no-any-return]  # YAML


def _upstream(content: dict[str, Any], names: dict[str, str], folder: Path) -> ssl.SSLContext:
    cluster, user = _entry(content, "cluster", names["cluster"]), _entry(content, "user", names["user"])
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    pair = folder / "client.pem"
    pair.touch(mode=0o600)
    parts = (user["client-certificate-data"], user["client-key-data"])
    pair.write_bytes(b"".join(base64.b64decode(part) for part in parts))
    context.load_cert_chain(pair)
    pair.unlink()
    return context


def _server(folder: Path) -> tuple[bytes, ssl.SSLContext]:
    """The forwarder's CA certificate, and a TLS context with its certificate for the loopback address."""
    name, root_key, key = certificates.name("Forwarder of a test"), certificates.new_key(), certificates.new_key()
    root = certificates.authority(name, root_key, issuer=name, issuer_key=root_key)
    now = datetime.now(UTC)
    leaf = (
        x509.CertificateBuilder(name, x509.Name([]), key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=12))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    pair = folder / "server.pem"
    pair.touch(mode=0o600)
    pair.write_bytes(certificates.pem_of(key) + leaf.public_bytes(Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair)
    pair.unlink()
    return root.public_bytes(Encoding.PEM), context
