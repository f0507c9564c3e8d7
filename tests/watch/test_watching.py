"""A whole watch on two small API servers: the senders' logs are written here, and read as those of real pods."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from splithorizon.base import timeouts
from splithorizon.istio.topology import Route
from splithorizon.mesh.mesh import Mesh
from splithorizon.run import watching as of_run
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.traffic.sender import KEPT, Stream
from splithorizon.watch.changes import GATEWAYS
from splithorizon.watch.watching import RouteSoFar, Watched, Watching
from tests.support import user_rights
from tests.support.existing_mesh import GATEWAYS as ADDRESSES
from tests.support.existing_mesh import ROLES, TwoClusters, installed_mesh
from tests.support.mesh_info import mesh_info

THERE, BACK = Route("primary", "remote"), Route("remote", "primary")


@dataclass
class Lab:
    clusters: TwoClusters
    mesh: Mesh
    undo: ExitStack
    said: list[str]

    def senders(self, role: str) -> list[str]:
        pods = self.clusters.apis[role].kept("Pod", "sample")
        return [pod["metadata"]["name"] for pod in pods if pod["metadata"]["labels"].get("app") == "watch-sender"]

    def write(self, role: str, pod: str, lines: list[str], logged: list[str]) -> None:
        """Let a sender and its sidecar have written these lines; the sidecar's log breaks off once."""
        now = datetime.now(UTC).timestamp() + 0.02
        path = f"/api/v1/namespaces/sample/pods/{pod}/log"
        streams = self.clusters.apis[role].streams
        streams[f"{path}?container=watch-sender"] = [[stamped(lines, now)]]
        whole = stamped(logged, now)
        streams[f"{path}?container=istio-proxy"] = [[whole[: len(whole) // 2], None], [whole]]


def stamped(lines: list[str], begin: float) -> bytes:
    """As a kubelet gives them, so close together that all of them are within the time that the watch has begun."""
    stamps = (begin + n * 0.0001 for n in range(len(lines)))
    times = (datetime.fromtimestamp(stamp, UTC).isoformat().replace("+00:00", "Z") for stamp in stamps)
    return "".join(f"{at} {line}\n" for at, line in zip(times, lines, strict=True)).encode()


def result(pod: str, number: int, *, code: int = 200) -> str:
    url = f"http://watch-v2.sample:5000/hello?{pod}-1000-1-1-{number}"
    return f"splithorizon new {url} {code} 1 0.000100 0"


def logged(pod: str, number: int, address: str, *, code: int = 200, flags: str = "-") -> str:
    return (
        f'[2026-11-27T12:00:00.000Z] "GET /hello?{pod}-1000-1-1-{number} HTTP/1.1" {code} {flags} via_upstream - "-" '
        f'0 60 3 2 "-" "curl/8.16.0" "6a1c" "watch-v2.sample:5000" "{address}" '
        "outbound|5000||watch-v2.sample.svc.cluster.local 10.10.0.6:50000 10.110.0.9:5000 10.10.0.6:40000 - default"
    )


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    times = replace(timeouts.WatchTimes(), pods_read=0.02, queue_read=0.02, last_results=0.15, log_asked_again=0.01)
    monkeypatch.setattr(timeouts, "_current", replace(timeouts.Timeouts(), watch=times))


SENDER = "splithorizon.local/sender:1.0"


@contextmanager
def lab(tmp_path: Path, *, owned: bool, serves: str = "", sender: str = "") -> Iterator[Lab]:
    """``serves`` are the protocols that helloworld announces, and ``sender`` is the image of a sender."""
    with installed_mesh(tmp_path) as clusters, ExitStack() as undo:
        (tmp_path / "runs").mkdir()
        run = clusters.run(tmp_path / "runs", "run", owned=owned)
        for api in clusters.apis.values():
            api.execute = lambda *_: f"HTTP/1.1 200 OK\r\nx-helloworld-protocols: {serves}\r\n\r\n" if serves else ""
            if not owned:
                api.denies = user_rights.denies(system_namespace="istio-system", disruption=False)
        info = mesh_info(run.folder, owned=owned)
        clusters_info = {name: replace(one, sender_image=sender) for name, one in info.clusters.items()}
        mesh = Mesh(replace(info, clusters=clusters_info))
        yield Lab(clusters, mesh, undo, [])


@pytest.fixture
def found(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path, owned=False) as made:
        yield made


def run(found: Lab, write: Callable[[], None], *, results: int) -> Watched:
    """A watch until so many results, and as many lines of access logs, are read."""
    stop = threading.Event()
    made = Watching(found.mesh, found.said.append, rate=20)
    made.start(found.undo)
    write()

    def stop_when_read() -> None:
        begun = time.monotonic()
        while time.monotonic() - begun < 60:
            logs = [one.logs for one in list(made._senders.values())]
            # Once the clocks are known, what is complete goes on.
            if sum(one.sent for one in logs) >= results and (
                sum(len(one._lines) for one in logs) >= results or time.monotonic() - begun > 10
            ):
                break
            time.sleep(0.01)
        stop.set()

    thread = threading.Thread(target=stop_when_read)
    thread.start()
    seen = made.run(stop, seconds=120)
    thread.join()
    return seen


@pytest.mark.parametrize("owned", [True, False], ids=["our own mesh", "an existing mesh"])
def test_senders_are_made_in_each_cluster_and_none_stays(owned: bool, tmp_path: Path) -> None:
    with lab(tmp_path, owned=owned) as found:
        made = Watching(found.mesh, found.said.append, rate=20)
        made.start(found.undo)
        for role in ROLES:
            api = found.clusters.apis[role]
            assert len(found.senders(role)) == 2
            services = {one["metadata"]["name"] for one in api.kept("Service", "sample")}
            assert {"watch-v1", "watch-v2"} <= services
            (deployment,) = (one for one in api.kept("Deployment") if one["metadata"]["name"] == "watch-sender")
            far = {"primary": "v2", "remote": "v1"}[role]
            assert deployment["spec"]["template"]["spec"]["containers"][0]["args"][0] == f"watch-{far}.sample"
        assert len(found.clusters.primary.kept("DestinationRule", "sample")) >= 2
        found.undo.close()
        for role in ROLES:
            assert found.senders(role) == []
            names = [one["metadata"]["name"] for one in found.clusters.apis[role].kept("Service", "sample")]
            # On an existing mesh they go with the namespace: nobody needs a right to delete them.
            assert any(name.startswith("watch-") for name in names) is not owned
        assert found.clusters.primary.kept("DestinationRule", "sample") == []


def test_every_answer_is_attributed_by_its_own_line_though_the_log_breaks_off(found: Lab) -> None:
    gateway = f"{ADDRESSES['remote']}:15443"

    def write() -> None:
        for pod in found.senders("primary"):
            lines = [result(pod, n, code=503 if n in (4, 5, 6) else 200) for n in range(1, 11)]
            lines_of_log = [
                logged(pod, n, gateway, code=503, flags="UF") if n in (4, 5, 6) else logged(pod, n, gateway)
                for n in range(1, 11)
            ]
            found.write("primary", pod, lines, lines_of_log)

    seen = run(found, write, results=20)
    requests = seen.requests[THERE]
    assert (requests.sent, requests.lost, requests.not_attributed) == (20, 6, 0)
    assert requests.paths.counts == {gateway: 20}
    assert requests.reasons.counts == {"HTTP 503 (UF)": 6}
    assert requests.wrong_seconds == 0
    assert seen.streams == (Stream.NEW,)
    assert any(text.startswith("the logs of the primary broke off") for text in seen.not_seen)
    assert "any connection that is kept: helloworld's image serves HTTP/1.1 requests alone" in seen.not_seen
    assert "any protocol but HTTP/1.1: there is no image of the sender (--image sender=REF)" in seen.not_seen
    # Nothing was seen of the other one, and it says so.
    assert seen.requests[BACK].sent == 0


def sent(pod: str, stream: str, number: int, *, opened: bool = False, lost: str = "") -> str:
    """A line of images/sender."""
    series = f"{pod}-1000-{stream}"
    return "splithorizon " + json.dumps({
        "stream": stream, "id": f"{series}-{number}", "series": series, "number": number, "seconds": 0.0001,
        "opened": opened, "lost": lost,
    })  # fmt: skip


def test_the_program_keeps_a_stream_of_each_protocol_and_its_interruption_is_a_cut(tmp_path: Path) -> None:
    gateway = f"{ADDRESSES['remote']}:15443"
    with lab(tmp_path, owned=True, serves="http,http2,tcp,grpc,grpc-stream", sender=SENDER) as found:

        def write() -> None:
            (deployment,) = (
                one for one in found.clusters.primary.kept("Deployment") if one["metadata"]["name"] == "watch-sender"
            )
            assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == SENDER
            for pod in found.senders("primary"):
                lines = [sent(pod, "new", n, opened=True) for n in range(1, 6)]
                lines += [sent(pod, "grpc", n, opened=n in (1, 4)) for n in (1, 2, 4)]
                lines += [sent(pod, "grpc", n, lost="gRPC Unavailable" if n == 5 else "") for n in (5, 6)]
                asked = [f"{pod}-1000-new-{n}" for n in range(1, 6)]
                found.write("primary", pod, lines, [logged(pod, 0, gateway).replace(f"{pod}-1000-1-1-0", one)
                                                    for one in asked])  # fmt: skip

        seen = run(found, write, results=10)
    assert seen.streams == (Stream.NEW, *KEPT)
    assert seen.rate == 20
    requests = seen.requests[THERE]
    assert (requests.sent, requests.lost, requests.not_attributed) == (10, 0, 0)
    streams = seen.kept[THERE][Stream.GRPC]
    assert [(one.sent, one.lost) for one in streams] == [(5, 1)] * 2
    assert [[cut.reason for cut in one.cuts] for one in streams] == [
        ["closed between two requests", "gRPC Unavailable"]
    ] * 2
    # The third line of each was not there.
    assert "2 results that senders wrote: their logs were rotated or cut off" in seen.not_seen
    assert not any(text.startswith("any ") for text in seen.not_seen)


def test_an_answer_past_the_gateway_is_on_a_wrong_path(found: Lab) -> None:
    def write() -> None:
        pod = found.senders("primary")[0]
        numbers = range(1, 11)
        found.write(
            "primary", pod, [result(pod, n) for n in numbers], [logged(pod, n, "10.20.0.7:5000") for n in numbers]
        )

    requests = run(found, write, results=10).requests[THERE]
    assert requests.wrong_paths.counts == {"10.20.0.7:5000": 10}
    assert 0 < requests.wrong_seconds < 2


def test_a_gateway_pod_that_is_replaced_is_an_event_and_a_restarted_proxy(found: Lab) -> None:
    remote, stop = found.mesh["remote"].kube, threading.Event()
    (before,) = (pod["metadata"]["name"] for pod in remote.list("Pod", "istio-system", "istio=eastwestgateway"))
    found.clusters.remote.denies = lambda _: False

    def say(line: str) -> None:
        found.said.append(line)
        if line.endswith(f"{before} is gone"):
            stop.set()

    def replace() -> None:
        asked = len(found.clusters.remote.asked)
        # What is read first is what later readings are compared with.
        while not any("istio=eastwestgateway" in str(query) for *_, query, _, _ in found.clusters.remote.asked[asked:]):
            time.sleep(0.01)
        while not found.clusters.remote.requests("GET", "/daemonsets"):
            time.sleep(0.01)
        remote.delete("Pod", before, "istio-system")

    made = Watching(found.mesh, say, rate=20)
    made.start(found.undo)
    thread = threading.Thread(target=replace)
    thread.start()
    seen = made.run(stop, seconds=60)
    thread.join()
    (event,) = (one for one in seen.events.events if one.subject == GATEWAYS)
    assert event.cluster == "remote"
    assert f"{before} is gone" in event.texts
    assert seen.restarted == {"remote": 1}
    assert any(line.startswith("[remote] gateway pods: ") for line in found.said)


def test_a_watch_ends_when_it_is_stopped_and_reports_what_it_saw(found: Lab) -> None:
    stop = threading.Event()
    progress = Progress(found.said.append)
    timer = threading.Timer(0.1, stop.set)
    timer.start()
    begun = time.monotonic()
    report = of_run.watch(found.mesh.info, Options(watch=True, rate=20), progress, stop)
    progress.close()
    assert time.monotonic() - begun < 30
    assert [route.route for route in report.routes] == [str(THERE), str(BACK)]
    assert {route.unjudged for route in report.routes} == {"no request was seen"}
    assert found.senders("primary") == []
    assert any("until Ctrl-C: change the mesh now" in line for line in found.said)


def test_what_arrived_of_a_route_so_far_is_a_line() -> None:
    route = Route("primary", "remote")
    assert str(RouteSoFar(route, 1200, 3, "100% 10.89.0.14:15443", 0.0)) == (
        "primary→remote: 1,200 sent, 3 lost, 100% 10.89.0.14:15443"
    )
    assert str(RouteSoFar(route, 40, 40, "", 2.4)) == "primary→remote: 40 sent, 40 lost; nothing answered for 2 s"


def test_on_a_terminal_it_is_a_row() -> None:
    table = of_run._table([RouteSoFar(Route("primary", "remote"), 1200, 3, "100% 10.89.0.14:15443", 2.4)])
    printed = io.StringIO()
    Console(width=100, file=printed).print(table)
    assert printed.getvalue().split() == [
        "route", "sent", "lost", "paths", "nothing", "answered", "for",
        "primary→remote", "1,200", "3", "100%", "10.89.0.14:15443", "2", "s",
    ]  # fmt: skip
