"""Far answers are followed through the logs of the far cluster, as a small API server gives them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import shortened
from splithorizon.istio.topology import Route
from splithorizon.mesh import traced_batch
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.traced_batch import GatewaySilent, TracedBatch, followed
from splithorizon.traffic import access_log
from splithorizon.traffic.client import Sample
from splithorizon.traffic.correlate import Matched, MatchedReply
from splithorizon.traffic.gateway_stats import server_name
from splithorizon.traffic.proxy_log import AccessLogUnreadable, Moment
from splithorizon.traffic.requests import Reply
from tests.support.mesh_info import mesh_info
from tests.support.small_api import SmallApi, small_api

OUT = Route("primary", "remote")
SNI = server_name("sample", "cluster.local")
PODS, GATEWAYS = "/api/v1/namespaces/sample/pods", "/api/v1/namespaces/istio-system/pods"
POD_LOG, GATEWAY_LOG = f"{PODS}/helloworld-v2-x/log", f"{GATEWAYS}/gateway-1/log"
LEFT = (
    '[2026-11-25T13:18:28.332Z] "GET /hello HTTP/1.1" 200 - via_upstream - "-" 0 60 26 24 "-" "curl/8.14.1" "b-1" '
    '"helloworld.sample:5000" "172.18.0.3:15443" outbound|5000||helloworld.sample.svc.cluster.local '
    "10.10.0.5:58592 10.110.202.204:5000 10.10.0.5:37142 - default\n"
)
PASSED = (
    '[2026-11-25T13:18:07.575Z] "- - -" 0 - - - "-" 81400 89181 20800 - "-" "-" "-" "-" "10.20.0.4:5000" '
    f"{SNI} 10.20.0.3:50462 10.20.0.3:15443 10.20.0.1:25870 {SNI} -\n"
)
ARRIVED = (
    '[2026-11-25T13:18:28.355Z] "GET /hello HTTP/1.1" 200 - via_upstream - "-" 0 60 1 1 "-" "curl/8.14.1" "b-1" '
    '"helloworld.sample:5000" "10.20.0.4:5000" inbound|5000|| 127.0.0.6:44814 10.20.0.4:5000 10.20.0.3:50462 '
    f"{SNI} default\n"
)
STRANGE = '[2026-11-25T13:18:28.355Z] "GET / HTTP/1.1" in "a format" of somebody\'s own\n'


def pod(name: str, namespace: str, ip: str) -> dict[str, object]:
    spec = {"containers": [{"name": "istio-proxy", "image": "i"}]}
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
        "status": {"podIP": ip, "podIPs": [{"ip": ip}]},
    }


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[SmallApi]:
    with ExitStack() as stack:
        near = stack.enter_context(small_api(tmp_path / "primary.kubeconfig"))
        near.objects[PODS] = {"items": [pod("helloworld-v1-x", "sample", "10.10.0.4")]}
        api = stack.enter_context(small_api(tmp_path / "remote.kubeconfig"))
        api.objects[PODS] = {"items": [pod("helloworld-v2-x", "sample", "10.20.0.4")]}
        api.objects[GATEWAYS] = {"items": [pod("gateway-1", "istio-system", "10.20.0.3")]}
        api.answers = {POD_LOG: (200, ARRIVED.encode()), GATEWAY_LOG: (200, PASSED.encode())}
        yield api


def follow(folder: Path) -> TracedBatch:
    (source_log,) = access_log.parse(LEFT).lines
    reply = Reply("b-1", 200, 0.01, "Hello version: v2, instance: helloworld-v2-x")
    sample = Sample(OUT, (reply,), Matched((MatchedReply(reply, source_log),), (), ()))
    with shortened(0.05):
        return followed(Mesh(mesh_info(folder)), sample, Moment.now())


def test_an_answer_is_found_in_both_far_logs(remote: SmallApi, tmp_path: Path) -> None:
    found = follow(tmp_path)
    (hops,) = found.answers
    assert hops.complete
    assert (hops.came_from, *found.gateway_pods, *found.far_pods) == ("10.20.0.3", "10.20.0.3", "10.20.0.4:5000")
    assert "logs gateway-1" in found.by_hand


def test_a_line_that_comes_late_is_waited_for_and_one_that_never_comes_is_told(
    remote: SmallApi, tmp_path: Path
) -> None:
    remote.answers[POD_LOG] = (200, ARRIVED.replace("10.20.0.3:50462", "10.20.0.9:1").encode())
    (hops,) = follow(tmp_path).answers
    assert (hops.gateway_log, hops.came_from) == (None, "10.20.0.9")
    assert sum(path == GATEWAY_LOG for _, path, *_ in remote.asked) > 1


@pytest.mark.parametrize("answer", [(200, b""), (403, b'{"kind":"Status","message":"no","code":403}')])
def test_a_gateway_that_tells_nothing_is_known_as_such(
    remote: SmallApi, tmp_path: Path, answer: tuple[int, bytes]
) -> None:
    remote.answers[GATEWAY_LOG] = answer
    with pytest.raises(GatewaySilent, match="the access log of istio-system/gateway-1 in the remote"):
        follow(tmp_path)


def test_a_pod_that_tells_nothing_is_no_gateway_that_does_not(remote: SmallApi, tmp_path: Path) -> None:
    remote.answers[POD_LOG] = (200, b"")
    with pytest.raises(EnvironmentBroke, match="helloworld-v2-x in the remote holds none of the answers") as caught:
        follow(tmp_path)
    assert not isinstance(caught.value, GatewaySilent)


def test_a_gateways_log_is_everybodys_and_only_ours_must_be_readable(remote: SmallApi, tmp_path: Path) -> None:
    remote.answers[GATEWAY_LOG] = (200, (STRANGE + PASSED).encode())
    assert follow(tmp_path).answers[0].complete
    remote.answers[GATEWAY_LOG] = (200, (STRANGE.replace("somebody", SNI) + PASSED).encode())
    with pytest.raises(GatewaySilent, match="in an unknown format") as caught:
        follow(tmp_path)
    assert isinstance(caught.value, AccessLogUnreadable), "a mesh of our own has no such gateway"


def test_a_busy_gateways_log_is_read_up_to_a_bound(
    remote: SmallApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traced_batch, "_GATEWAY_LOG", 1 << 20)
    remote.answers[GATEWAY_LOG] = (200, STRANGE.encode() * (1 << 20))
    with pytest.raises(GatewaySilent, match="grew by more than 1 MiB during the batch: the gateway is busy"):
        follow(tmp_path)
    (asked,) = [query for _, path, query, *_ in remote.asked if path == GATEWAY_LOG]
    assert asked["limitBytes"] == [str((1 << 20) + 1)]
