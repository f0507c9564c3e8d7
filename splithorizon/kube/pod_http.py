"""Asks a port of a pod by HTTP, through the API server: cheaper for the pod than a program that is started in it."""

from __future__ import annotations

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube.port_forward import Stream

_HEAD_ENDS = b"\r\n\r\n"
_HEAD_BYTES = 64 * 1024
_LAST_CHUNK = b"0\r\n\r\n"


def get(stream: Stream, path: str, *, limit: int) -> tuple[int, bytes]:
    """The status and the whole body of the answer to one request; the connection is spent then.

    An answer that says how long it is, is not read further: the kubelet ends a connection a second after the program.
    Raises EnvironmentBroke where the answer is cut off, has no status or a body of more than ``limit`` bytes.
    """
    stream.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: */*\r\n\r\n".encode())
    answer = bytearray()
    while not _is_whole(answer, path) and (piece := stream.receive()):
        answer += piece
        if len(answer) > limit + _HEAD_BYTES:
            raise EnvironmentBroke(f"the answer to {path} has more than {limit} bytes")
    head, found, body = bytes(answer).partition(_HEAD_ENDS)
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ", 2)
    if not found or len(parts) < 2 or not parts[1].isdigit():
        raise EnvironmentBroke(f"the answer to {path} is no HTTP", seen=lines[0][:100])
    headers = _headers(head)
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = _unchunked(body, path)
    elif (length := headers.get("content-length")) is not None and len(body) < int(length):
        raise EnvironmentBroke(f"the answer to {path} is cut off", seen=f"{len(body)} of {length} bytes")
    return int(parts[1]), body


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _is_whole(answer: bytearray, path: str) -> bool:
    """Whether an answer has all that its head announces; one that announces nothing goes on to the connection's end."""
    ends = answer.find(_HEAD_ENDS)
    if ends < 0:
        return False
    begins = ends + len(_HEAD_ENDS)
    headers = _headers(bytes(answer[:ends]))
    if headers.get("transfer-encoding", "").lower() != "chunked":
        length = headers.get("content-length", "")
        return length.isdigit() and len(answer) - begins >= int(length)
    if not answer.endswith(_LAST_CHUNK):
        return False
    try:
        _unchunked(bytes(answer[begins:]), path)
    except (EnvironmentBroke, ValueError):
        # The bytes of a chunk may look like the last one.
        return False
    return True


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
