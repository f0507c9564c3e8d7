"""Convergence by requests: what follows from their times, and the client's script against a real server."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from bench import convergence
from bench.convergence import Request, Until, converged_after, parse
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube.client import Kube
from splithorizon.traffic.client import Client
from tests.support import script_container
from tests.support.script_container import SHELLS, CountedHandler, CountingServer, serving
from tests.support.small_api import SmallApi

HOST = "probe.scale.svc.cluster.local"


def requests(answers: str, *, begun: float = 100.0) -> list[Request]:
    """One request a second, each half a second long; ``+`` is an answer of the far cluster, ``-`` any other end."""
    return [Request(begun + number, begun + number + 0.5, answer == "+") for number, answer in enumerate(answers)]


def test_a_new_service_is_there_with_the_end_of_its_first_answer() -> None:
    assert converged_after(requests("---" + "+" * 10), 101.25, Until.REACHED) == pytest.approx(2.25)


def test_a_proxy_that_goes_back_for_a_moment_has_still_answered_first() -> None:
    assert converged_after(requests("--+-" + "+" * 10), 101.0, Until.REACHED) == pytest.approx(1.5)


def test_an_endpoint_ends_with_the_begin_of_the_last_request_that_it_answered() -> None:
    assert converged_after(requests("++++-+" + "-" * 10), 102.0, Until.MISSED) == pytest.approx(3.0)


def test_an_endpoint_that_gets_no_request_after_its_end_ended_at_once() -> None:
    assert converged_after(requests("++" + "-" * 10), 101.75, Until.MISSED) == 0.0


@pytest.mark.parametrize(
    ("answers", "until", "said"),
    [
        ("----------------", Until.REACHED, "did not reach the client's proxy within 30 s"),
        ("-----+++++++++", Until.REACHED, "did not reach the client's proxy"),
        ("+++++++++++++-", Until.MISSED, "did not reach the client's proxy"),
        ("--------------", Until.MISSED, "did not answer before the change"),
        ("", Until.REACHED, "no request was sent before the change"),
    ],
)
def test_a_change_that_does_not_arrive_is_no_measurement(answers: str, until: Until, said: str) -> None:
    with pytest.raises(EnvironmentBroke, match=said):
        converged_after(requests(answers), 100.5, until)


def test_requests_that_began_after_the_change_measure_nothing() -> None:
    with pytest.raises(EnvironmentBroke, match="no request was sent before the change"):
        converged_after(requests("-" + "+" * 10), 99.0, Until.REACHED)


def test_lines_that_are_no_request_are_passed_over() -> None:
    assert parse("100.01 100.05 missed\nsh: curl: not found\n100.06 100.10 reached\n") == (
        Request(100.01, 100.05, reached=False),
        Request(100.06, 100.10, reached=True),
    )


class Gateway(CountedHandler):
    """Answers as the far cluster where its version is served for the Host, else as the near one does."""

    version = "v1"
    hosts: set[str] = set()  # noqa: RUF012  # of the test that reads it

    def answer(self, request_id: str) -> None:  # noqa: ARG002  # these requests have none
        self.hosts.add(self.headers["Host"])
        body = f"Hello version: {Gateway.version}, instance: helloworld\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CountingServer]:
    monkeypatch.setattr(Gateway, "version", "v1")
    monkeypatch.setattr(Gateway, "hosts", set())
    with serving(Gateway) as running:
        yield running


@pytest.fixture(params=SHELLS)
def client(request: pytest.FixtureRequest, tmp_path: Path, api: SmallApi, kube: Kube, server: CountingServer) -> Client:
    """A client whose commands run here, in one userland, and whose Service is the server."""
    environment = script_container.container(tmp_path, request.param, ("rm",))

    def execute(_: str, command: list[str]) -> str:
        here = [server.url("/hello") if part.startswith("http://helloworld.sample:") else part for part in command]
        program = f"{environment['PATH']}/{here[0]}"
        if here[2] == convergence._HAS_MARK:
            # The small API server knows no other exit status than 0: the mark is there when it answers.
            eventually("the script marks its first request", partial(require_file, Path(here[-1])), within=60)
        return subprocess.run(
            [program, *here[1:]], env=environment, capture_output=True, text=True, check=True, timeout=20
        ).stdout

    api.execute = execute
    return Client(kube, "sample", "primary", "sleep-1")


def require_file(path: Path) -> None:
    if not path.exists():
        raise NotYet("no file")


def answered_by(version: str) -> Callable[[], None]:
    return lambda: setattr(Gateway, "version", version)


def test_the_script_sees_a_service_come_and_its_endpoint_go(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "_HELD", 2)
    created = convergence.measure(client, HOST, "v2", Until.REACHED, answered_by("v2"))
    ended = convergence.measure(client, HOST, "v2", Until.MISSED, answered_by("v1"))
    assert 0 <= created < 20
    assert 0 <= ended < 20
    assert Gateway.hosts == {HOST}
    assert not Path(f"/tmp/{HOST}.reached").exists()
