"""A loopback forwarder between the suite and an API server, which loses the requests that a test names.

It speaks TLS on both sides, so that it reads each request's head: whoever connects needs no credentials of the cluster,
and is forwarded with those of the kubeconfig that the forwarder was made with.
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
# What the suite sends for its token: of no known form, and of no use to the API server.
TOKEN = "an-opaque-token-that-only-the-forwarder-takes"
_LARGEST_HEAD = 1 << 20


@dataclass(frozen=True)
class Request:
    """The first line of a request: a verb of HTTP, and the path with its query."""

    method: str
    path: str


def never(_: Request) -> bool:
    """Lose nothing."""
    return False


@dataclass
class Forwarder:
    """What passes, and what is lost. A test sets the fields while requests come in."""

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
        """Whether nothing passes at all."""
        return self._away

    def lose(self, matching: Callable[[Request], bool], *, times: int) -> None:
        """Close the connection of the next so many requests that match, instead of passing them on."""
        self._loses, self._count = matching, times

    def await_lost(self, requests: int) -> None:
        """Wait until at least so many are lost."""

        def look() -> None:
            if len(self.lost) < requests:
                raise NotYet(f"{len(self.lost)} lost")

        eventually(f"{requests} requests are lost", look, within=30)

    def go_away_at(self, matching: Callable[[Request], bool]) -> None:
        """From the first request that matches, with that one, let nothing pass."""
        self._closed_by = matching

    def come_back(self) -> None:
        """Let everything pass again."""
        self._closed_by, self._away = never, False

    def write_kubeconfig(self, source: Path, context: str, target: Path) -> None:
        """Copy a kubeconfig, with the forwarder in the place of one context's API server, and a token for its user."""
        content = yaml.safe_load(source.read_text())
        chosen = _entry(content, "context", context)
        authority = base64.b64encode(self.certificate).decode()
        _entry(content, "cluster", chosen["cluster"]).update(
            {"server": self.url, "certificate-authority-data": authority}
        )
        user = _entry(content, "user", chosen["user"])
        user.clear()
        user["token"] = TOKEN
        target.touch(mode=0o600)
        target.write_text(yaml.safe_dump(content))

    def passes(self, request: Request) -> bool:
        """Decide what becomes of a request."""
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
    """Forward to the API server of a context, with its credentials; keys lie in the folder for as long as the block."""
    content = yaml.safe_load(kubeconfig.read_text())
    chosen = _entry(content, "context", context)
    server = urlsplit(_entry(content, "cluster", chosen["cluster"])["server"])
    upstream = _upstream(content, chosen, folder) if server.scheme == "https" else None
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
    """Pass one connection on, request by request; an answer that is cut off is no answer."""
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
            # Not closed in good order: a lost request has no end that could be taken for an empty answer.
            end.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


def _read_head(head: bytes) -> tuple[Request, int, bool]:
    """The request, the length of its body, and whether the connection is another protocol's from then on."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert "transfer-encoding" not in headers, "a body of unknown length cannot be followed"
    return Request(method, path), int(headers.get("content-length", 0)), "upgrade" in headers


def _entry(content: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    (found,) = (entry[kind] for entry in content[f"{kind}s"] if entry["name"] == name)
    return found  # type: ignore[no-any-return]  # YAML


def _upstream(content: dict[str, Any], chosen: dict[str, str], folder: Path) -> ssl.SSLContext:
    cluster, user = _entry(content, "cluster", chosen["cluster"]), _entry(content, "user", chosen["user"])
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
    """The authority by which the forwarder is known, and its own certificate for the loopback address."""
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
