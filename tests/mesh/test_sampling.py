"""Batches with what the client's sidecar counted around them, through small API servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.istio.topology import Route
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.sampling import Sampling
from splithorizon.traffic.new_connections import AT_ONCE, LEFT_OUT, NEAR_AT_ONCE, ROUNDS, ROUNDS_AT_A_TIME
from splithorizon.traffic.upstream_counts import Hidden, HostCounts
from tests.support.mesh_info import mesh_info
from tests.support.small_api import SmallApi, small_api

OUT = Route("primary", "remote")
PODS = "/api/v1/namespaces/sample/pods"
GATEWAY = "172.18.0.3:15443"
HELLO = "Hello version: v2, instance: helloworld-v2-x"
LINE = (
    '[2026-11-25T13:18:28.355Z] "GET /hello HTTP/1.1" {code} - via_upstream - "-" 0 60 1 1 "-" "curl/8.14.1" "{id}" '
    '"helloworld.sample:5000" "{upstream}" outbound|5000||helloworld.sample.svc.cluster.local 10.10.0.5:1 '
    "10.20.0.4:5000 10.20.0.3:50462 - default\n"
)


class Client:
    """The primary's client and its sidecar, which counts more requests than there are for each batch."""

    def __init__(self, api: SmallApi, far: SmallApi) -> None:
        self.api = api
        self.far = far
        self.more = 0
        self.requests = 0
        self.asked: list[str] = []
        self.lost = 0
        self.unsent = 0
        self.failed_connections = 0
        self.ids: list[str] = []
        self.near_fails = False
        self.near_at_once: list[int] = []

    def execute(self, _: str, command: list[str]) -> str:
        if command[0] == "pilot-agent":
            self.asked.append(command[-1])
            return json.dumps({"cluster_statuses": [self._cluster(f"outbound|{port}||{name}") for port, name in NAMES]})
        self.asked.append("batch")
        _, first, second, *others = command[3:]
        if first.startswith("http://10."):
            rounds, batch = int(others[2]), others[3]
            self.ids = [f"{batch}-{n}" for n in range(1, rounds * AT_ONCE + 1)]
            near = [f"{batch}-near-{n}" for n in range(1, rounds * int(others[1]) + 1)]
            self.near_at_once.append(int(others[1]))
            self.requests += len(self.ids)
            if self.near_fails:
                return self._printed([*near, *self.ids], lost=len(near))
            return self._printed([*self.ids, *near])
        self.ids = [f"{others[0]}-{n}" for n in range(1, int(second) - self.unsent + 1)]
        self.requests += len(self.ids) + self.more
        lines = [LINE.format(code=200, id=one, upstream=GATEWAY) for one in self.ids]
        self.api.answers[f"{PODS}/sleep-1/log"] = (200, "".join(lines).encode())
        return self._printed(self.ids)

    def _printed(self, ids: list[str], lost: int | None = None) -> str:
        lost = self.lost if lost is None else lost
        results = [f"reply {one} {0 if number < lost else 200} 0.01 0 " for number, one in enumerate(ids)]
        return "\n".join([*results, "bodies", *(f"./{one}:{HELLO}" for one in ids[lost:]), "end 0", ""])

    def _cluster(self, name: str) -> dict[str, object]:
        failed = {"name": "cx_connect_fail", "value": str(self.failed_connections * self.asked.count("batch"))}
        stats = [{"name": "rq_total", "value": str(self.requests)}, {"name": "cx_active"}, failed]
        host, port = GATEWAY.split(":")
        address = {"socket_address": {"address": host, "port_value": int(port)}}
        status = {"address": address, "stats": stats, "weight": 1, "health_status": {"eds_health_status": "HEALTHY"}}
        return {"name": name, "host_statuses": [status]}


NAMES = (
    (5000, "helloworld.sample.svc.cluster.local"),
    (5001, "new-connections-v2.sample.svc.cluster.local"),
    (5000, "another.sample.svc.cluster.local"),
)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with ExitStack() as stack:
        near = stack.enter_context(small_api(tmp_path / "primary.kubeconfig"))
        far = stack.enter_context(small_api(tmp_path / "remote.kubeconfig"))
        for api in (near, far):
            api.versioned = True
            api.answers["/readyz"] = (200, b"ok")
            for version in ("v1", "v2"):
                api.put("Service", f"new-connections-{version}", "sample", spec={"clusterIP": f"10.110.0.{version[1]}"})
        near.put("Pod", "sleep-1", "sample", labels={"app": "sleep"}, status={"phase": "Running"})
        far.put("Pod", "helloworld-v2-x", "sample", labels={"app": "helloworld"}, status={"phase": "Running"})
        made = Client(near, far)
        near.execute = made.execute
        yield made


def sampling(folder: Path) -> Sampling:
    return Sampling(Mesh(mesh_info(folder)))


def test_the_counters_are_read_just_before_and_just_after_the_batch(client: Client, tmp_path: Path) -> None:
    client.requests = 7
    sample = sampling(tmp_path).sample(OUT, times=20)
    assert [one.partition("?")[0] for one in client.asked] == ["clusters", "batch", "clusters"]
    assert sample.attempts.increases == {GATEWAY: HostCounts(rq_total=20)}
    assert sample.hidden == {}
    assert sample.server_errors == 0


def test_answers_of_the_service_itself_are_counted_where_requests_were_sent_again(
    client: Client, tmp_path: Path
) -> None:
    """Of three requests that were sent again two had got a 503 from the pod, by its own log."""
    client.more = 3
    execute = client.execute

    def and_log(pod: str, command: list[str]) -> str:
        printed = execute(pod, command)
        lines = [LINE.format(code=503, id=one, upstream="10.20.0.4:5000") for one in client.ids[:2]]
        lines += [LINE.format(code=503, id="another-batch-1", upstream="10.20.0.4:5000")]
        client.far.answers[f"{PODS}/helloworld-v2-x/log"] = (200, "".join(lines).encode())
        return printed

    client.api.execute = and_log
    sample = sampling(tmp_path).sample(OUT, times=20)
    assert sample.hidden == {GATEWAY: Hidden(resent=3)}
    assert sample.server_errors == 2


def test_of_a_batch_that_connections_which_fail_end_early_what_was_sent_is_judged(
    client: Client, tmp_path: Path
) -> None:
    client.unsent, client.failed_connections = 15, 4
    sample = sampling(tmp_path).sample(OUT, times=20)
    assert [reply.answered for reply in sample.replies] == [True] * 5
    assert sample.matched.requests == 5
    assert sample.attempts.failed_connections == 4


def test_a_batch_that_ends_early_without_a_failure_is_no_judgement(client: Client, tmp_path: Path) -> None:
    client.unsent = 15
    with pytest.raises(EnvironmentBroke, match="too slow"):
        sampling(tmp_path).sample(OUT, times=20)


def test_new_connections_are_made_until_every_round_is_there(client: Client, tmp_path: Path) -> None:
    found = sampling(tmp_path).new_connections(OUT)
    assert client.asked.count("batch") == ROUNDS / ROUNDS_AT_A_TIME
    assert found.losses.connections == (ROUNDS - LEFT_OUT) * AT_ONCE
    assert found.losses.count == 0
    assert found.attempts.increases == {GATEWAY: HostCounts(rq_total=ROUNDS * AT_ONCE)}


def test_no_more_are_made_where_all_are_lost(client: Client, tmp_path: Path) -> None:
    client.lost = ROUNDS_AT_A_TIME * AT_ONCE
    found = sampling(tmp_path).new_connections(OUT)
    assert client.asked.count("batch") == 1
    assert found.all_losses.failed == client.lost


def test_a_near_network_that_fails_is_asked_no_further(client: Client, tmp_path: Path) -> None:
    client.near_fails = True
    found = sampling(tmp_path).new_connections(OUT)
    assert client.near_at_once == [NEAR_AT_ONCE] + [0] * (ROUNDS // ROUNDS_AT_A_TIME - 1)
    assert found.losses.connections == (ROUNDS - LEFT_OUT) * AT_ONCE
    assert found.losses.count == 0
    assert found.near_losses.failed == (ROUNDS_AT_A_TIME - LEFT_OUT) * NEAR_AT_ONCE


def test_a_mesh_of_an_earlier_version_has_no_service_for_new_connections(client: Client, tmp_path: Path) -> None:
    del client.api.objects["/api/v1/namespaces/sample/services/new-connections-v2"]
    with pytest.raises(EnvironmentBroke, match="no Service new-connections-v2 in the primary"):
        sampling(tmp_path).new_connections(OUT)
