"""A connection to a port of a pod, against a real websocket of this folder's API server."""

from __future__ import annotations

import pytest

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube.client import Kube
from tests.support.small_api import SmallApi

PATH = "/api/v1/namespaces/istio-system/pods/gateway-1/portforward"
# The kubelet tells the port first, on each of the two channels: 15443, little-endian.
PORT = b"\x53\x3c"
BEGIN = [(0, PORT), (1, PORT)]
SAYS = b"error forwarding port 15443 to pod 1f, uid : failed to execute portforward in network namespace: "


def received(kube: Kube, *, within: float = 10) -> tuple[bytes, str]:
    with kube.port_forward("gateway-1", "istio-system", 15443, within=within) as stream:
        stream.send(b"hello")
        return b"".join(iter(stream.receive, b"")), stream.ending


def test_the_port_is_asked_for_and_what_it_sends_is_read_to_its_end(api: SmallApi, kube: Kube) -> None:
    api.frames = [*BEGIN, (0, b"one "), (1, b""), (0, b"two")]
    assert received(kube) == (b"one two", "closed")
    method, path, query, headers, _ = api.asked[0]
    assert (method, path, query) == ("GET", PATH, {"ports": ["15443"]})
    assert headers["Authorization"] == "Bearer the-token"
    assert headers["Sec-WebSocket-Protocol"] == "v4.channel.k8s.io"


def test_bytes_that_come_with_the_port_are_not_lost(api: SmallApi, kube: Kube) -> None:
    api.frames = [(0, PORT + b"early"), (0, b" and late")]
    assert received(kube) == (b"early and late", "closed")


@pytest.mark.parametrize("ending", ["connection refused", "connection reset by peer", "broken pipe"])
def test_what_the_pods_own_kernel_says_is_an_ending(api: SmallApi, kube: Kube, ending: str) -> None:
    api.frames = [*BEGIN, (0, b"half"), (1, SAYS + b"read tcp4: " + ending.encode()), (0, b"never read")]
    assert received(kube) == (b"half", ending)


def test_whatever_else_the_kubelet_says_is_a_broken_environment(api: SmallApi, kube: Kube) -> None:
    api.frames = [*BEGIN, (1, b"pod sandbox is gone")]
    with pytest.raises(EnvironmentBroke, match="pod sandbox is gone") as caught:
        received(kube)
    assert "port 15443 of istio-system/gateway-1 of the primary cluster" in str(caught.value)


def test_a_port_that_neither_answers_nor_ends_is_given_up(api: SmallApi, kube: Kube) -> None:
    api.frames = [*BEGIN, 2.0]
    with pytest.raises(EnvironmentBroke, match="no answer, no refusal and no end"):
        received(kube, within=0.3)


def test_a_pod_that_is_not_there_is_named_by_the_api_server(api: SmallApi, kube: Kube) -> None:
    api.answers[PATH] = (404, b'{"message":"pods \\"gateway-1\\" not found"}')
    with pytest.raises(EnvironmentBroke, match='pods "gateway-1" not found'):
        received(kube)
