"""The plug-in that counts what a run reads, with a real websocket, a real answer and a real pytest."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench import counted_reads
from bench.counted_reads import Reads, Source, counted, source_of
from splithorizon.kube.client import Kube
from tests.support.small_api import SmallApi

REPOSITORY = Path(__file__).resolve().parents[2]
POD = "/api/v1/namespaces/sample/pods/sleep-1"


@pytest.mark.parametrize(
    ("path", "query", "source"),
    [
        (f"{POD}/exec", [("container", "istio-proxy"), ("command", "pilot-agent")], Source.PROXIES),
        (f"{POD}/exec", [("container", "sleep"), ("command", "sh")], Source.CLIENTS),
        ("/api/v1/namespaces/istio-system/pods/istiod-1/exec", [("container", "discovery")], Source.ISTIODS),
        ("/api/v1/namespaces/istio-system/pods/istiod-1/portforward", [("ports", "15017")], Source.ISTIODS),
        (f"{POD}/portforward", [("ports", "15000")], Source.PROXIES),
    ],
)
def test_a_websocket_belongs_to_who_answers_on_it(path: str, query: list[tuple[str, str]], source: Source) -> None:
    assert source_of(path, query) is source


def test_messages_of_websockets_are_counted_by_source(api: SmallApi, kube: Kube) -> None:
    api.frames = [(1, b"x" * 1000), (3, b'{"status": "Success"}')]
    reads = Reads()
    with counted(reads):
        kube.execute("sleep-1", "sample", "istio-proxy", ["pilot-agent"], within=5)
        kube.execute("sleep-1", "sample", "sleep", ["sh"], within=5)
    # Each message begins with the number of its channel; the last is the websocket's own, two bytes.
    expected = 1001 + 22 + 2
    assert reads.counts[Source.PROXIES] == reads.counts[Source.CLIENTS] == expected
    assert reads.counts[Source.ISTIODS] == 0


def test_bytes_of_a_connection_count_while_the_block_lasts() -> None:
    reads = Reads()
    for counting in (True, False):
        ours, theirs = socket.socketpair()
        with ours, theirs, ours.makefile("rb") as file:
            theirs.sendall(b"12345")
            theirs.shutdown(socket.SHUT_WR)
            if counting:
                with counted(reads):
                    assert file.read() == b"12345"
            else:
                assert file.read() == b"12345"
    assert reads.counts[Source.API_SERVERS] == 5


def test_a_run_with_the_plug_in_writes_what_it_read(api: SmallApi, tmp_path: Path) -> None:
    """The run is a process of its own: in this one the server reads as well."""
    api.answers["/large"] = (200, b"x" * 10_000)
    test = tmp_path / "test_reads.py"
    test.write_text(
        "from urllib.request import urlopen\n"
        "def test_reads():\n"
        f"    assert len(urlopen('{api.url}/large').read()) == 10_000\n"
    )
    file = tmp_path / "reads.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "bench.counted_reads", "-c", os.devnull, str(test)]
    environment = {**os.environ, counted_reads.FILE: str(file), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    counts = json.loads(file.read_text())
    assert 10_000 < counts.pop(Source.API_SERVERS) < 11_000
    assert counts == {Source.PROXIES: 0, Source.ISTIODS: 0, Source.CLIENTS: 0}
