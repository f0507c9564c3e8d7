"""A connection to a port of a pod, by a real websocket to the small API server."""

from __future__ import annotations

import pytest

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube.client import Kube
from tests.support.small_api import SmallApi

PATH = "/api/v1/namespaces/istio-system/pods/gateway-1/portforward"
# The kubelet sends the port first on each of the two channels: 15443, little-endian.
PORT = b"\x53\x3c"
BEGIN = [(0, PORT), (1, PORT)]
REFUSAL = b"error forwarding port 15443 to pod 1f, uid : failed to execute portforward in network namespace: "


def received(kube: Kube, *, within: float = 10) -> tuple[bytes, str]:
    with kube.port_forward("gateway-1", "istio-system", 15443, within=within) as stream:
        stream.send(b"hello")
        return b"".join(iter(stream.receive, b"")), stream.ending


def test_the_bytes_of_the_port_are_read_to_their_end(api: SmallApi, kube: Kube) -> None:
    api.frames = [*BEGIN, (0, b"one "), (1, b""), (0, b"two")]
    assert received(kube) == (b"one two", "closed")
    method, path, query, headers, _ = api.asked[0]
    assert (method, path, query) == ("GET", PATH, {"ports": ["15443"]})
    assert headers["Authorization"] == "Bearer the-token"
    assert headers["Sec-WebSocket-Protocol"] == "v4.channel.k8s.io"


def test_bytes_in_the_message_with_the_port_are_not_lost(api: SmallApi, kube: Kube) -> None:
    api.frames = [(0, PORT + b"early"), (0, b" and late")]
    assert received(kube) == (b"early and late", "closed")


@pytest.mark.parametrize("ending", ["connection refused", "connection reset by peer", "broken pipe"])
def test_an_error_of_the_pods_kernel_is_an_ending(api: SmallApi, kube: Kube, ending: str) -> None:
    api.frames = [*BEGIN, (0, b"half"), (1, REFUSAL + b"read tcp4: " + ending.encode()), (0, b"never read")]
    assert received(kube) == (b"half", ending)


def test_any_other_error_of_the_kubelet_is_a_broken_environment(api: SmallApi, kube: Kube) -> None:
    api.frames = [*BEGIN, (1, b"pod sandbox is gone")]
    with pytest.raises(EnvironmentBroke, match="pod sandbox is gone") as caught:
        received(kube)
    assert "port 15443 of istio-system/gateway-1 of the primary cluster" in str(caught.value)


def test_a_connection_without_bytes_or_end_times_out(api: SmallApi, kube: Kube) -> None:
    api.frames = [*BEGIN, 2.0]
    with pytest.raises(EnvironmentBroke, match="no answer, no refusal and no end"):
        received(kube, within=0.3)


def test_a_missing_pod_is_named_in_the_error(api: SmallApi, kube: Kube) -> None:
    api.answers[PATH] = (404, b'{"message":"pods \\"gateway-1\\" not found"}')
    with pytest.raises(EnvironmentBroke, match='pods "gateway-1" not found'):
        received(kube)
