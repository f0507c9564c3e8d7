"""A plug-in for pytest that counts what a run of the suite reads of a mesh: ``-p bench.counted_reads``.

``SPLITHORIZON_BENCH_READS`` names the file that has the counts when the run has ended: bytes by source, as JSON.
Counted is what comes out of TLS: answers with their headers, and the messages of websockets.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from splithorizon.kube import api_websocket
from splithorizon.kube.api_websocket import Endpoint

FILE = "SPLITHORIZON_BENCH_READS"
_ISTIOD = "istiod"


class Source(StrEnum):
    """Who answered."""

    API_SERVERS = "api_servers"
    PROXIES = "proxies"
    ISTIODS = "istiods"
    CLIENTS = "clients"
    """The containers in which the run sends its requests: they print the replies."""


_BY_CONTAINER = {"istio-proxy": Source.PROXIES, "discovery": Source.ISTIODS}


def source_of(path: str, query: Sequence[tuple[str, str]]) -> Source:
    """Who is at the other end of a websocket, by what the API server is asked for: exec or a port of a pod."""
    container = dict(query).get("container")
    if container is not None:
        return _BY_CONTAINER.get(container, Source.CLIENTS)
    pod = path.split("/")[-2]
    return Source.ISTIODS if pod.startswith(_ISTIOD) else Source.PROXIES


class Reads:
    """The bytes that were read so far, by source. Threads can share it."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._bytes = Counter(dict.fromkeys(Source, 0))
        self._lock = threading.Lock()

    def add(self, source: Source, size: int) -> None:
        """Count some more bytes."""
        with self._lock:
            self._bytes[source] += size

    @property
    def counts(self) -> Mapping[str, int]:
        """The bytes by the name of the source."""
        with self._lock:
            return {source.value: size for source, size in self._bytes.items()}


class CountedSocket:
    """An open websocket whose messages are counted."""

    def __init__(self, opened: Any, source: Source, reads: Reads) -> None:
        """Take the websocket, and who is at its other end."""
        self._opened = opened
        self._source = source
        self._reads = reads

    def recv_data(self) -> tuple[int, bytes]:
        """The next message, as websocket-client returns it: its opcode and its content."""
        opcode, data = self._opened.recv_data()
        self._reads.add(self._source, len(data))
        return opcode, data

    def __getattr__(self, name: str) -> Any:
        """All else is the websocket's."""
        return getattr(self._opened, name)


@contextmanager
def counted(reads: Reads) -> Iterator[None]:
    """Count, until the block ends, what this process reads of API servers and through them."""
    read_into, open_websocket = socket.SocketIO.readinto, api_websocket.opened

    def readinto(self: socket.SocketIO, buffer: Any) -> int | None:
        size = read_into(self, buffer)
        reads.add(Source.API_SERVERS, size or 0)
        return size

    @contextmanager
    def opened(
        endpoint: Endpoint, path: str, query: Sequence[tuple[str, str]], *, within: float
    ) -> Iterator[CountedSocket]:
        with open_websocket(endpoint, path, query, within=within) as found:
            yield CountedSocket(found, source_of(path, query), reads)

    with pytest.MonkeyPatch.context() as patched:
        # HTTP answers are read by it, and websockets are not.
        patched.setattr(socket.SocketIO, "readinto", readinto)
        patched.setattr(api_websocket, "opened", opened)
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main() -> Iterator[None]:
    """Count from the first read of a run to its last, and write the counts."""
    reads = Reads()
    try:
        with counted(reads):
            return (yield)
    finally:
        Path(os.environ[FILE]).write_text(json.dumps(reads.counts))
