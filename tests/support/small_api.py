"""A small HTTP server that stores objects by path like an API server, for tests of clients."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from splithorizon.kube.api_resources import path_of

# What an answer that refuses asks to wait, in seconds; empty for nothing.
RETRY_AFTER = ""
_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass
class Failure:
    """The failure of the next ``times`` requests with this method and this end of the path; empty matches all.

    ``how`` is an HTTP status, or "lost" for a connection that ends before the request is processed, or "unanswered" for
    one that ends after that.
    """

    times: int
    method: str = ""
    path: str = ""
    how: int | str = "lost"

    def meets(self, method: str, path: str) -> bool:
        if self.times < 1 or self.method not in ("", method) or not path.endswith(self.path):
            return False
        self.times -= 1
        return True


class UnansweredWrite(Failure):
    """The ``times``-th write from now on is done, and its answer is lost."""

    def __init__(self, times: int) -> None:
        super().__init__(times, how="unanswered")

    def meets(self, method: str, path: str) -> bool:  # noqa: ARG002  # of whatever object
        self.times -= method != "GET"
        return method != "GET" and self.times == 0


class SmallApi(ThreadingHTTPServer):
    """What was asked and what is kept; ``answers`` overrides a path with a status and a body.

    With ``versioned`` every object has a uid and a resourceVersion, as in a real API server, and preconditions count.
    ``now`` is its clock, as a POSIX time; this machine's where it is None. ``execute`` runs a command in a pod: it gets
    the pod's path and the arguments, and returns the standard output. ``controllers`` are called after each write, with
    the mutex held; ``admit`` completes an object that is only asked for (``dryRun``). ``denies`` is what this user
    may not do, by the attributes of a review of rights; ``reviewed`` keeps the reviews, and ``asked`` has none of them.
    ``streams`` are the next answers to a path, or to a path and ``?container=NAME``, that are sent in pieces: what is
    none ends the connection within it.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str, dict[str, list[str]], dict[str, str], bytes]] = []
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.streams: dict[str, list[list[bytes | None]]] = {}
        self.frames: list[tuple[int, bytes] | float] = []
        self.failures: list[Failure] = []
        self.execute: Callable[[str, list[str]], str] | None = None
        self.controllers: list[Callable[[], None]] = []
        self.admit: Callable[[dict[str, Any]], None] = lambda _: None
        self.denies: Callable[[dict[str, str]], bool] = lambda _: False
        self.reviewed: list[dict[str, str]] = []
        self.reviewers: set[str] = set()
        self.versioned = False
        self.now: float | None = None
        self.mutex = threading.Lock()
        self._numbers = count(1)
        # Decides what another user may do, by the spec of an access review; by default nothing.
        self.allows: Callable[[dict[str, Any]], bool] = lambda _: False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, kind: str, name: str, namespace: str | None = None, **content: Any) -> dict[str, Any]:
        """Keep an object as somebody else makes it, with a uid of its own; return what is kept."""
        # As it would come over the wire: no part of it is another one's too.
        content = json.loads(json.dumps(content))
        labels = content.pop("labels", {})
        place = {"namespace": namespace} if namespace else {}
        metadata = {"name": name, **place, **({"labels": labels} if labels else {})}
        api = path_of(kind, None).removeprefix("/apis/").removeprefix("/api/").rpartition("/")[0]
        kept = {"apiVersion": api, "kind": kind, "metadata": metadata, **content}
        self.objects[path_of(kind, namespace, name)] = self.stamped(kept, new=True)
        return kept

    def kept(self, kind: str, namespace: str | None = None) -> list[dict[str, Any]]:
        """Every object of a kind, of all namespaces without one."""
        return [one for one in self.objects.values() if one.get("kind") == kind and _is_in(one, namespace)]

    def requests(self, method: str, ending: str = "") -> list[str]:
        """The paths that were asked with a method."""
        return [path for asked, path, *_ in self.asked if asked == method and path.endswith(ending)]

    def stamped(self, kept: dict[str, Any], *, new: bool = False) -> dict[str, Any]:
        number = next(self._numbers)
        metadata = kept.setdefault("metadata", {})
        metadata["resourceVersion"] = str(number)
        if new or "uid" not in metadata:
            metadata["uid"] = f"uid-{number}"
        return kept


class _Handler(BaseHTTPRequestHandler):
    server: SmallApi
    protocol_version = "HTTP/1.1"
    # Head and body are written apart: the second would wait for the first one's delayed acknowledgement, 40 ms.
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None: ...

    def date_time_string(self, timestamp: float | None = None) -> str:
        moment = self.server.now if self.server.now is not None else timestamp or time.time()
        return format_datetime(datetime.fromtimestamp(moment, UTC), usegmt=True)

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = parse_qs(parts.query)
        if not parts.path.endswith("/selfsubjectaccessreviews"):
            # A header that is repeated has a line for each value.
            headers = {name: "\n".join(self.headers.get_all(name) or ()) for name in self.headers}
            self.server.asked.append((self.command, parts.path, query, headers, body))
        failure = next((one for one in self.server.failures if one.meets(self.command, parts.path)), None)
        denied = self.server.denies(attributes_of(self.command, parts.path, query))
        if failure and failure.how == "lost":
            self._hang_up()
        elif failure and isinstance(failure.how, int):
            self._refuse(failure.how, "as the test has it")
        elif denied:
            self._refuse(403, f"this user may not {self.command} {parts.path}")
        elif streams := self.server.streams.get(parts.path) or self.server.streams.get(
            f"{parts.path}?container={query.get('container', [''])[0]}"
        ):
            self._send_pieces(streams.pop(0))
        elif parts.path in self.server.answers:
            self._answer(*self.server.answers[parts.path])
        elif self.headers.get("Upgrade", "").lower() == "websocket":
            self._stream(parts.path, query)
        else:
            with self.server.mutex:
                status, answer = self._act(parts.path, query, json.loads(body) if body else {})
                if self.command != "GET" and status < 300:
                    for controller in self.server.controllers:
                        controller()
            if failure:
                self._hang_up()
            else:
                self._answer(status, json.dumps(answer).encode())

    do_GET = do_POST = do_PATCH = do_DELETE = _handle

    def _act(self, path: str, query: dict[str, list[str]], content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path.endswith("/selfsubjectaccessreviews"):
            attributes: dict[str, str] = next(iter(content["spec"].values()))
            self.server.reviewed.append(attributes)
            self.server.reviewers.add(self.headers.get("Authorization", ""))
            return 201, {**content, "status": {"allowed": not self.server.denies(attributes)}}
        if self.command == "POST":
            return self._create(path, content)
        if self.command == "PATCH":
            return self._admitted(path, content) if "dryRun" in query else self._patch(path, content)
        if path not in self.server.objects:
            if self.command == "GET" and self.server.versioned and _is_list(path):
                return 200, {"items": self._listed(path, query)}
            return _no(404, f"{path} not found")
        kept = self.server.objects[path]
        if self.command == "GET":
            return 200, kept
        wanted = content.get("preconditions") or {}
        if any(kept["metadata"].get(key) != value for key, value in wanted.items()):
            return _no(409, f"{path} is not the one that was meant")
        return 200, self.server.objects.pop(path)

    def _create(self, path: str, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path.endswith("/token"):
            return 201, {**content, "status": {"token": "a-token-on-request"}}
        if path.endswith("/subjectaccessreviews"):
            return 201, {**content, "status": {"allowed": self.server.allows(content["spec"])}}
        path = f"{path}/{content['metadata']['name']}"
        if path in self.server.objects:
            return _no(409, f"{path} already exists")
        if "/namespaces/" in path:
            content["metadata"].setdefault("namespace", path.split("/namespaces/")[1].split("/")[0])
        self.server.objects[path] = self.server.stamped(content, new=True)
        return 201, content

    def _patch(self, path: str, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        path = path.removesuffix("/status")
        applied = "apply-patch" in self.headers["Content-Type"]
        if not self.server.versioned:
            kept = self.server.objects.setdefault(path, {})
            kept.update(content)
            return 200, kept
        if path not in self.server.objects and not applied:
            return _no(404, f"{path} not found")
        kept = self.server.objects.setdefault(path, {})
        if applied and "/namespaces/" in path:
            content["metadata"].setdefault("namespace", path.split("/namespaces/")[1].split("/")[0])
        wanted = (content.get("metadata") or {}).get("resourceVersion")
        if wanted and wanted != kept["metadata"]["resourceVersion"]:
            return _no(409, "the object has been modified")
        _merge(kept, content)
        return 200, self.server.stamped(kept)

    def _admitted(self, path: str, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        content["metadata"].setdefault("namespace", path.split("/namespaces/")[1].split("/")[0])
        self.server.admit(content)
        return 201, content

    def _listed(self, path: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        labels, fields = (
            [part for part in query.get(name, [""])[0].split(",") if part]
            for name in ("labelSelector", "fieldSelector")
        )
        wanted, named = dict(part.split("=", 1) for part in labels if "=" in part), {p for p in labels if "=" not in p}
        selected = dict(part.split("=", 1) for part in fields)
        found = []
        for key, kept in self.server.objects.items():
            namespaced = key.replace(f"/namespaces/{kept['metadata'].get('namespace', '')}", "", 1)
            if (
                f"{path}/{kept['metadata']['name']}" in (key, namespaced)
                and wanted.items() <= (kept["metadata"].get("labels") or {}).items()
                and named <= (kept["metadata"].get("labels") or {}).keys()
                and all(_field(kept, field) == value for field, value in selected.items())
            ):
                found.append(kept)
        return found

    def _refuse(self, status: int, message: str) -> None:
        _, body = _no(status, message)
        self._answer(status, json.dumps(body).encode())

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if RETRY_AFTER and status == 429:
            self.send_header("Retry-After", RETRY_AFTER)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_pieces(self, pieces: list[bytes | None]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            if piece is None:
                self._hang_up()
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _stream(self, path: str, query: dict[str, list[str]]) -> None:
        """Send the frames: a channel and its bytes, or a number of seconds to stay silent."""
        key = hashlib.sha1(self.headers["Sec-WebSocket-Key"].encode() + _WEBSOCKET).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(key).decode())
        self.send_header("Sec-WebSocket-Protocol", self.headers["Sec-WebSocket-Protocol"])
        self.end_headers()
        for frame in self._printed(path, query):
            if isinstance(frame, tuple):
                self._frame(2, bytes([frame[0]]) + frame[1])
            else:
                time.sleep(frame)  # the silence is what is tested
        self._frame(8, struct.pack(">H", 1000))
        self.close_connection = True

    def _printed(self, path: str, query: dict[str, list[str]]) -> list[tuple[int, bytes] | float]:
        if self.server.execute is None:
            return self.server.frames
        printed = self.server.execute(path.removesuffix("/exec"), query["command"])
        return [(1, printed.encode()), (3, b'{"status": "Success"}')]

    def _frame(self, opcode: int, payload: bytes) -> None:
        length = struct.pack(">BQ", 127, len(payload))
        self.wfile.write(bytes([0x80 | opcode]) + length + payload)


def _no(status: int, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"kind": "Status", "message": message, "code": status}


def attributes_of(method: str, path: str, query: Mapping[str, list[str]]) -> dict[str, str]:
    """A request as the authorizers of an API server see it."""
    parts = path.strip("/").split("/")
    if parts[0] not in ("api", "apis") or len(parts) < 3:
        return {"verb": method.lower(), "path": path}
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    if not rest:
        return {"verb": method.lower(), "path": path}
    namespace = rest[1] if rest[0] == "namespaces" and len(rest) > 2 else ""
    resource, *others = rest[2:] if namespace else rest
    verb = {"GET": "get" if others else "list", "POST": "create"}.get(method, method.lower())
    subresource = {"subresource": others[1]} if len(others) > 1 else {}
    name = {"name": others[0]} if others else {}
    if "watch" in query:
        verb = "watch"
    return {"verb": verb, "group": group, "resource": resource, "namespace": namespace, **name, **subresource}


def _is_in(kept: dict[str, Any], namespace: str | None) -> bool:
    return namespace is None or kept["metadata"].get("namespace") == namespace


def _field(kept: dict[str, Any], path: str) -> str:
    """The value of a field selector's path; empty where there is no such field, as in Kubernetes."""
    found: Any = kept
    for key in path.split("."):
        found = found.get(key, {}) if isinstance(found, dict) else {}
    return str(found or "")


def _is_list(path: str) -> bool:
    """Whether a path leads to all objects of a kind, of one namespace or of all."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    return len(parts) == 1 or (len(parts) == 3 and parts[0] == "namespaces")


def _merge(kept: dict[str, Any], patch: dict[str, Any]) -> None:
    """A JSON merge patch (RFC 7386)."""
    for key, value in patch.items():
        if value is None:
            kept.pop(key, None)
        elif isinstance(value, dict):
            inner = kept.get(key)
            kept[key] = inner if isinstance(inner, dict) else {}
            _merge(kept[key], value)
        else:
            kept[key] = value


@contextmanager
def small_api(kubeconfig: Path, *, context: str = "x") -> Iterator[SmallApi]:
    """Serve, and write a kubeconfig that leads there."""
    with SmallApi() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            write_kubeconfig(kubeconfig, server.url, context=context)
            yield server
        finally:
            server.shutdown()
            thread.join()


def write_kubeconfig(path: Path, server: str, *, context: str = "x") -> None:
    """Write a kubeconfig with a client certificate and a token; JSON is YAML."""
    secret = base64.b64encode(b"not a real key, though as long as one").decode()
    user = {"token": "the-token", "client-certificate-data": secret, "client-key-data": secret}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
        "current-context": context,
    }
    path.write_text(json.dumps(document))
