"""A small HTTP server that keeps objects by path as an API server does, for tests of clients."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class SmallApi(ThreadingHTTPServer):
    """What was asked and what is kept; ``answers`` overrides a path with a status and a body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str, dict[str, list[str]], dict[str, str], bytes]] = []
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.frames: list[tuple[int, bytes] | float] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: SmallApi
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = parse_qs(parts.query)
        self.server.asked.append((self.command, parts.path, query, dict(self.headers), body))
        if parts.path in self.server.answers:
            self._answer(*self.server.answers[parts.path])
        elif self.headers.get("Upgrade", "").lower() == "websocket":
            self._stream()
        elif self.command == "PATCH":
            content = json.loads(body)
            kept = self.server.objects.setdefault(parts.path.removesuffix("/status"), {})
            kept.update(content)
            self._answer(200, json.dumps(kept).encode())
        elif parts.path not in self.server.objects:
            reason = {"kind": "Status", "message": f"{parts.path} not found", "code": 404}
            self._answer(404, json.dumps(reason).encode())
        elif self.command == "DELETE":
            self._answer(200, json.dumps(self.server.objects.pop(parts.path)).encode())
        else:
            self._answer(200, json.dumps(self.server.objects[parts.path]).encode())

    do_GET = do_PATCH = do_DELETE = _handle

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        """Send the frames: a channel and its bytes, or a number of seconds to stay silent."""
        key = hashlib.sha1(self.headers["Sec-WebSocket-Key"].encode() + _WEBSOCKET).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(key).decode())
        self.send_header("Sec-WebSocket-Protocol", self.headers["Sec-WebSocket-Protocol"])
        self.end_headers()
        for frame in self.server.frames:
            if isinstance(frame, tuple):
                self._frame(2, bytes([frame[0]]) + frame[1])
            else:
                time.sleep(frame)  # the silence is what is tested
        self._frame(8, struct.pack(">H", 1000))
        self.close_connection = True

    def _frame(self, opcode: int, payload: bytes) -> None:
        length = struct.pack(">BQ", 127, len(payload))
        self.wfile.write(bytes([0x80 | opcode]) + length + payload)


@contextmanager
def small_api(kubeconfig: Path) -> Iterator[SmallApi]:
    """Serve, and write a kubeconfig that leads there."""
    with SmallApi() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            write_kubeconfig(kubeconfig, server.url)
            yield server
        finally:
            server.shutdown()
            thread.join()


def write_kubeconfig(path: Path, server: str) -> None:
    """Write a kubeconfig with a client certificate and a token; JSON is YAML."""
    secret = base64.b64encode(b"not a real key").decode()
    user = {"token": "the-token", "client-certificate-data": secret, "client-key-data": secret}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(document))
