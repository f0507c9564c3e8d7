"""A small forward proxy, by HTTP or SOCKS 5, that counts what it passes on."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit


class ForwardProxy(socketserver.ThreadingTCPServer):
    """Connects to any address; ``reached`` are the addresses, by the method in which they were asked for."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reached: list[tuple[str, str]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(socketserver.BaseRequestHandler):
    server: ForwardProxy

    def handle(self) -> None:
        first = self.request.recv(1, socket.MSG_PEEK)
        if first == b"\x05":
            self._socks()
        elif first:
            self._http()

    def _socks(self) -> None:
        _, methods = self._exactly(2)
        self._exactly(methods)
        self.request.sendall(b"\x05\x00")
        *_, kind = self._exactly(4)
        host = socket.inet_ntoa(self._exactly(4)) if kind == 1 else self._exactly(self._exactly(1)[0]).decode()
        (port,) = struct.unpack(">H", self._exactly(2))
        upstream = self._connect("socks", host, port)
        self.request.sendall(b"\x05\x00\x00\x01" + b"\x00" * 6)
        self._pass_on(upstream)

    def _http(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.request.recv(1)
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            upstream = self._connect("connect", host, int(port))
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            url = urlsplit(target)
            upstream = self._connect("plain", url.hostname or "", url.port or 80)
            upstream.sendall(head.replace(target.encode(), target.partition(url.netloc)[2].encode(), 1))
        self._pass_on(upstream)

    def _connect(self, how: str, host: str, port: int) -> socket.socket:
        self.server.reached.append((how, f"{host}:{port}"))
        return socket.create_connection((host, port), timeout=5)

    def _exactly(self, count: int) -> bytes:
        found: bytes = self.request.recv(count, socket.MSG_WAITALL)
        return found

    def _pass_on(self, upstream: socket.socket) -> None:
        back = threading.Thread(target=_copy, args=(upstream, self.request), daemon=True)
        back.start()
        _copy(self.request, upstream)
        back.join(5)
        upstream.close()


def _copy(source: Any, target: Any) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def forward_proxy() -> Iterator[ForwardProxy]:
    with ForwardProxy() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
