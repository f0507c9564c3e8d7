"""Asks a port of a pod by HTTP, through the API server: cheaper for the pod than a program that is started in it."""

from __future__ import annotations

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube.port_forward import Stream

_HEAD_ENDS = b"\r\n\r\n"
_HEAD_BYTES = 64 * 1024


def get(stream: Stream, path: str, *, limit: int) -> tuple[int, bytes]:
    """The status and the whole body of the answer to one request; the connection is spent then.

    Raises EnvironmentBroke where the answer is cut off, has no status or a body of more than ``limit`` bytes.
    """
    stream.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: */*\r\n\r\n".encode())
    answer = bytearray()
    while piece := stream.receive():
        answer += piece
        if len(answer) > limit + _HEAD_BYTES:
            raise EnvironmentBroke(f"the answer to {path} has more than {limit} bytes")
    head, found, body = bytes(answer).partition(_HEAD_ENDS)
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ", 2)
    if not found or len(parts) < 2 or not parts[1].isdigit():
        raise EnvironmentBroke(f"the answer to {path} is no HTTP", seen=lines[0][:100])
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = _unchunked(body, path)
    elif (length := headers.get("content-length")) is not None and len(body) < int(length):
        raise EnvironmentBroke(f"the answer to {path} is cut off", seen=f"{len(body)} of {length} bytes")
    return int(parts[1]), body


def _unchunked(body: bytes, path: str) -> bytes:
    whole = bytearray()
    while True:
        line, found, rest = body.partition(b"\r\n")
        if not found:
            raise EnvironmentBroke(f"the answer to {path} is cut off", seen=f"after {len(whole)} bytes")
        size = int(line.split(b";")[0], 16)
        if not size:
            return bytes(whole)
        if len(rest) < size:
            raise EnvironmentBroke(f"the answer to {path} is cut off", seen=f"after {len(whole)} bytes")
        whole += rest[:size]
        body = rest[size + 2 :]
