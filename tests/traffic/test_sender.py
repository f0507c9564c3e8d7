from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from splithorizon.base.paths import MANIFESTS
from splithorizon.kube import manifests
from splithorizon.traffic import sender
from splithorizon.traffic.sender import KEPT, PORTS, TIMED_OUT, Stream, parse

SERIES = "watch-sender-7d9-x2-1234-7-1"


def line(*, stream: str = "new", code: str = "200", connects: int = 1, exit_status: int = 0) -> str:
    url = f"http://watch-v2.sample:5000/hello?{SERIES}-42"
    return f"splithorizon {stream} {url} {code} {connects} 0.012500 {exit_status}"


def test_a_line_is_read() -> None:
    found = parse(line())
    assert found is not None
    assert (found.stream, found.series, found.number, found.seconds) == (Stream.NEW, SERIES, 42, 0.0125)
    assert (found.request_id, found.opened, found.lost) == (f"{SERIES}-42", True, "")


@pytest.mark.parametrize(
    ("code", "exit_status", "lost"),
    [
        ("200", 0, ""),
        ("503", 0, "HTTP 503"),
        ("000", 28, TIMED_OUT),
        ("000", 7, "no connection"),
        ("000", 56, "connection reset"),
        ("200", 18, "answer cut off"),
        ("000", 99, "curl 99"),
    ],
)
def test_what_became_of_a_request(code: str, exit_status: int, lost: str) -> None:
    found = parse(line(code=code, exit_status=exit_status))
    assert found is not None
    assert found.lost == lost


@pytest.mark.parametrize("text", ["", "splithorizon waits", "curl: (7) no", line(stream="other"), line()[:-2]])
def test_anything_else_is_no_result(text: str) -> None:
    assert parse(text) is None


def written(**changed: object) -> str:
    """A line as images/sender writes it."""
    fields = {"stream": "grpc", "id": "pod-a-7-grpc-42", "series": "pod-a-7-grpc", "number": 41, "seconds": 0.0125}
    return "splithorizon " + json.dumps({**fields, "opened": False, "lost": "gRPC Unavailable", **changed})


def test_a_line_of_the_program_is_read() -> None:
    found = parse(written())
    assert found is not None
    assert (found.stream, found.series, found.number, found.seconds) == (Stream.GRPC, "pod-a-7-grpc", 41, 0.0125)
    assert (found.request_id, found.opened, found.lost) == ("pod-a-7-grpc-42", False, "gRPC Unavailable")


@pytest.mark.parametrize(
    "text", [written()[:-1], written(stream="other"), written(number="x"), "splithorizon {}", "splithorizon {1}"]
)
def test_a_line_of_the_program_that_is_cut_off_is_no_result(text: str) -> None:
    assert parse(text) is None


SERVED = {"http", "http2", "tcp", "grpc", "grpc-stream"}


def test_what_is_sent_depends_on_what_sends_and_on_what_helloworld_serves() -> None:
    assert sender.streams(SERVED, of_program=True) == (Stream.NEW, *KEPT)
    assert sender.streams(SERVED - {"grpc-stream"}, of_program=True) == tuple(
        one for one in Stream if one is not Stream.GRPC
    )
    assert sender.streams(SERVED, of_program=False) == (Stream.NEW, Stream.HTTP1)
    assert sender.streams((), of_program=True) == sender.streams((), of_program=False) == (Stream.NEW,)


def test_series_make_the_rate() -> None:
    assert sender.series_for(20) == 30
    assert sender.steady_rate(20, of_program=False) == 20
    assert sender.series_for(1) == 2
    assert sender.steady_rate(5, of_program=False) >= 5
    assert sender.steady_rate(5, of_program=True) == 5
    assert sender.steady_rate(1, of_program=True) == 2


def client() -> dict[str, object]:
    documents = manifests.load(MANIFESTS / "workloads" / "sleep.yaml")
    (found,) = (one for one in documents if one["kind"] == "Deployment")
    return found


def test_the_senders_are_like_the_client_and_there_are_two_that_are_restarted_one_at_a_time() -> None:
    made = sender.deployment(client(), target="watch-v2.sample", rate=20, streams=(Stream.NEW, Stream.HTTP1))
    spec = made["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    pod = spec["template"]
    assert pod["metadata"]["labels"]["app"] == spec["selector"]["matchLabels"]["app"] == "watch-sender"
    container = pod["spec"]["containers"][0]
    assert container["image"] == "curlimages/curl:8.16.0"
    assert container["command"][:2] == ["sh", "-c"]
    assert container["args"] == ["watch-v2.sample", "30", "3", "2.9", "yes", "2/s"]
    config = yaml.safe_load(pod["metadata"]["annotations"]["proxy.istio.io/config"])
    assert config == {"drainDuration": "2s", "holdApplicationUntilProxyStarts": True}
    # What it was made from stays as it is.
    assert client()["spec"]["template"]["metadata"]["labels"] == {"app": "sleep"}  # type: ignore[index]


def test_the_program_gets_the_address_of_each_stream() -> None:
    made = sender.deployment(client(), target="watch-v2.sample", rate=5, streams=tuple(Stream), image="here/sender:1")
    container = made["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["command"]) == ("here/sender:1", ["/sender"])
    assert container["args"] == [
        "-rate=2.5", "-timeout=2.9s", "-every=500ms",
        "-new=http://watch-v2.sample:5000/hello",
        "-http1=http://watch-v2.sample:5002/describe",
        "-http2=http://watch-v2.sample:5012/describe",
        "-grpc=watch-v2.sample:5003",
        "-tcp=http://watch-v2.sample:5022/describe",
    ]  # fmt: skip
    assert {one["name"] for one in container["env"]} == {"POD_NAME"}
    assert "securityContext" in container, "the client's rights"


def test_the_service_has_a_port_for_each_stream_whose_name_says_its_protocol() -> None:
    ports = {one["port"]: one["name"] for one in sender.service("v2")["spec"]["ports"]}
    assert ports.keys() == {*PORTS.values()}
    assert {PORTS[one]: ports[PORTS[one]].partition("-")[0] for one in Stream} == {
        5000: "http", 5002: "http", 5012: "http2", 5003: "grpc", 5022: "tcp",
    }  # fmt: skip


def test_a_request_is_new_on_the_sidecars_side_too() -> None:
    rule = sender.new_connections_rule("v2", "watch-v2.sample.svc.cluster.local")
    (port,) = rule["spec"]["trafficPolicy"]["portLevelSettings"]
    assert port["port"]["number"] == 5000
    assert port["connectionPool"]["http"]["maxRequestsPerConnection"] == 1
    # What holds for all ports would not hold for this one.
    policy = {"loadBalancer": {"localityLbSetting": {"enabled": False}}}
    (port,) = sender.new_connections_rule("v2", "x", policy)["spec"]["trafficPolicy"]["portLevelSettings"]
    assert port.keys() == {"port", "connectionPool", "loadBalancer"}
    assert rule["metadata"]["name"] == sender.service("v2")["metadata"]["name"] == "watch-v2"


class _Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hangs = threading.Event()

    def do_GET(self) -> None:
        if self.hangs.is_set() and "?" in self.path:
            time.sleep(1)  # longer than a request may take here
        body = b"Hello version: v2, instance: x\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def port() -> Iterator[int]:
    _Hello.hangs.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hello) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def printed(port: int, tmp_path: Path, *, until: int) -> list[str]:
    """What the script prints with two series of one request each 100 ms, until there are so many results."""
    script = sender.SCRIPT.replace(":5000/", f":{port}/").replace('"$((60 / period))/m"', "10/s")
    process = subprocess.Popen(
        ["sh", "-c", script, "sh", "127.0.0.1", "2", "0.02", "0.09", "no", "10/s"],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "POD_NAME": "pod-a", "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    lines: list[str] = []
    assert process.stdout is not None
    try:
        while len(lines) < until:
            # A slow machine may let it wait for its first answer.
            if (text := process.stdout.readline().rstrip("\n")) != sender.WAITS:
                lines.append(text)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    return lines


def test_the_script_sends_and_each_line_is_a_result_with_its_number(port: int, tmp_path: Path) -> None:
    results = [parse(text) for text in printed(port, tmp_path, until=6)]
    assert all(one is not None and one.stream is Stream.NEW for one in results)
    known = [one for one in results if one is not None]
    assert {one.opened for one in known} == {True}
    for series in {one.series for one in known}:
        numbers = [one.number for one in known if one.series == series]
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_request_that_hangs_ends_within_its_time(port: int, tmp_path: Path) -> None:
    _Hello.hangs.set()
    results = [parse(text) for text in printed(port, tmp_path, until=4)]
    assert {one.lost for one in results if one is not None} == {TIMED_OUT}
