"""HTTP to a port of a pod, through a real websocket of this folder's API server."""

from __future__ import annotations

import pytest

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube import pod_http
from splithorizon.kube.client import Kube
from tests.support.small_api import SmallApi

PORT = b"\x98\x3a"


def ask(api: SmallApi, kube: Kube, *answer: bytes, limit: int = 1000) -> tuple[int, bytes]:
    api.frames = [(0, PORT), (1, PORT), *((0, piece) for piece in answer)]
    with kube.port_forward("sleep-1", "sample", 15000, within=60) as stream:
        return pod_http.get(stream, "/stats", limit=limit)


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",), 200, b"{}"),
        ((b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 4\r\n\r\nab", b"cd"), 200, b"abcd"),
        ((b"HTTP/1.1 404 Not Found\r\n\r\nno such page",), 404, b"no such page"),
        (
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"a\r\n0123456789\r\n0\r\n\r\n"),
            200,
            b"abc0123456789",
        ),
    ],
    ids=["whole", "in pieces", "refused, until the end", "chunked"],
)
def test_an_answer_is_read_to_its_end(
    api: SmallApi, kube: Kube, answer: tuple[bytes, ...], status: int, body: bytes
) -> None:
    assert ask(api, kube, *answer) == (status, body)


@pytest.mark.parametrize(
    "answer",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n", b"0\r\n\r\n"),
        # What looks like a last chunk is within one.
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nabcde0\r\n\r\n", b"\r\n0\r\n\r\n"),
    ],
    ids=["by its length", "by its last chunk", "a chunk like the last"],
)
def test_an_answer_that_is_whole_is_not_read_further(api: SmallApi, kube: Kube, answer: tuple[bytes, ...]) -> None:
    frames = [(0, PORT), (1, PORT), *((0, piece) for piece in answer), (1, b"whoever reads this is told")]
    api.frames = list(frames)
    with kube.port_forward("sleep-1", "sample", 15000, within=60) as stream:
        status, body = pod_http.get(stream, "/stats", limit=1000)
    assert (status, body[:5]) == (200, b"abcde")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "is no HTTP"),
        (b"SSH-2.0\r\n\r\n", "is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf", "is cut off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "is cut off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "is cut off"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 70_000, "more than 1000 bytes"),
    ],
    ids=["nothing", "another protocol", "half a body", "half a chunk", "no last chunk", "too large"],
)
def test_what_is_no_whole_answer_is_refused(api: SmallApi, kube: Kube, answer: bytes, told: str) -> None:
    with pytest.raises(EnvironmentBroke, match=told):
        ask(api, kube, answer)


def test_one_request_is_sent_that_ends_the_connection(api: SmallApi, kube: Kube) -> None:
    ask(api, kube, b"HTTP/1.1 200 OK\r\n\r\n")
    _, path, query, *_ = api.asked[0]
    assert (path, query) == ("/api/v1/namespaces/sample/pods/sleep-1/portforward", {"ports": ["15000"]})
