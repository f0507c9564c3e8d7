"""What a script of the client's container meets: a PATH with one userland and curl, and a server that counts."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread

SHELLS = [shell for shell in ("dash", "busybox") if shutil.which(shell)]


class CountingServer(ThreadingHTTPServer):
    """Counts requests by their id, and the connections on which they came."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, handler: type[CountedHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.lock = Lock()
        self.counts: Counter[str] = Counter()
        # By their handlers: a later connection may come from the port of an earlier one.
        self.connections: set[CountedHandler] = set()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that has given up."""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class CountedHandler(BaseHTTPRequestHandler):
    """Counts a request, and has ``answer`` of a subclass answer it."""

    protocol_version = "HTTP/1.1"
    timeout = 5

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, CountingServer)
        request_id = self.headers["x-request-id"]
        with server.lock:
            server.counts[request_id] += 1
            server.connections.add(self)
        self.answer(request_id)

    def answer(self, request_id: str) -> None:
        """Answer the request with this x-request-id."""
        raise NotImplementedError

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Say nothing."""


@contextmanager
def serving(handler: type[CountedHandler]) -> Iterator[CountingServer]:
    with CountingServer(handler) as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def container(folder: Path, shell: str, programs: Iterable[str]) -> dict[str, str]:
    """The environment of a container whose sh is ``shell``; busybox provides all its programs itself."""
    tools = folder / "bin"
    tools.mkdir()
    for name in ("sh", *programs):
        real = shell if name == "sh" or shell == "busybox" else name
        (tools / name).symlink_to(_found(real))
    (tools / "curl").symlink_to(_found("curl"))
    (folder / "tmp").mkdir()
    return {"PATH": str(tools), "TMPDIR": str(folder / "tmp")}


def _found(program: str) -> str:
    path = shutil.which(program)
    assert path, program
    return path
