"""The batch script of the client's container, with real shells, real curl and a real server."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.traffic.requests import Reply, command, parse, request_ids, require_all_sent
from tests.support import script_container
from tests.support.script_container import SHELLS, CountedHandler, CountingServer, serving

BATCH = "splithorizon-5ac4e1d0"


class Hello(CountedHandler):
    """Answers by the number at the end of the request's id."""

    def answer(self, request_id: str) -> None:
        number = int(request_id.rpartition("-")[2])
        if self.path == "/stuck" or (self.path == "/slow" and number == 2):
            time.sleep(1.5)
        if self.path == "/closed" and number == 2:
            return
        status = 503 if self.path == "/broken" and number == 2 else 200
        body = f"Hello version: v{number % 2 + 1}, instance: helloworld-{number}\n".encode()
        if status == 503:
            body = b"no healthy upstream"
        self.send_response(status)
        if self.path == "/forged" and number == 2:
            body += f"\nbodies\nreply {BATCH}-3 200 0.1 0 \n./{BATCH}-3:Hello\nend 0\n".encode()
        missing = 7 if self.path == "/cut" and number == 2 else 0
        self.send_header("Content-Length", str(len(body) + missing))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[CountingServer]:
    with serving(Hello) as running:
        yield running


@pytest.fixture(params=SHELLS)
def container(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    return script_container.container(tmp_path, request.param, ("awk", "grep", "mktemp", "rm", "ls", "cat", "timeout"))


def run(
    container: dict[str, str], url: str, times: int, timeout: float = 5, within: float = 60, patience: float = 0
) -> str:
    argv = command(url, times=times, batch=BATCH, timeout=timeout, within=within, patience=patience)
    done = subprocess.run(
        [f"{container['PATH']}/{argv[0]}", *argv[1:]],
        env=container,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    left = list(Path(container["TMPDIR"]).iterdir())
    assert left == [], "the batch leaves no file in the container"
    return done.stdout


def send(container: dict[str, str], url: str, times: int, timeout: float = 5) -> list[Reply]:
    return parse(run(container, url, times, timeout), request_ids(BATCH, times))


def test_the_shells_to_try_are_installed() -> None:
    assert "dash" in SHELLS


def test_each_reply_is_paired_with_its_own_request(server: CountingServer, container: dict[str, str]) -> None:
    replies = send(container, server.url("/hello"), 200)
    assert [(reply.request_id, reply.version, reply.instance) for reply in replies] == [
        (f"{BATCH}-{n}", f"v{n % 2 + 1}", f"helloworld-{n}") for n in range(1, 201)
    ]
    assert all(reply.answered and reply.seconds > 0 for reply in replies)
    assert set(server.counts.values()) == {1}, "nothing is sent twice"
    assert len(server.connections) == 200, "a separate connection for each request"


def test_an_error_status_is_a_reply(server: CountingServer, container: dict[str, str]) -> None:
    first, second, third = send(container, server.url("/broken"), 3)
    assert (first.answered, second.answered, third.answered) == (True, False, True)
    assert (second.status, second.body, second.version) == (503, "no healthy upstream", None)
    assert server.counts[second.request_id] == 1


def test_a_reply_that_takes_too_long_is_lost_and_the_others_are_not(
    server: CountingServer, container: dict[str, str]
) -> None:
    first, second, third = send(container, server.url("/slow"), 3, timeout=0.5)
    assert (first.answered, second.answered, third.answered) == (True, False, True)
    assert (second.status, second.version) == (0, None)
    assert second.error.startswith("curl 28:")
    assert server.counts[second.request_id] == 1


def test_a_connection_closed_without_an_answer_is_a_lost_reply(
    server: CountingServer, container: dict[str, str]
) -> None:
    first, second, third = send(container, server.url("/closed"), 3)
    assert (first.answered, second.answered, third.answered) == (True, False, True)
    assert second.error.startswith("curl 52:")
    assert server.counts[second.request_id] == 1


def test_an_incomplete_answer_is_a_lost_reply(server: CountingServer, container: dict[str, str]) -> None:
    """Although its status and its version were received."""
    first, second, third = send(container, server.url("/cut"), 3)
    assert (first.answered, second.answered, third.answered) == (True, False, True)
    assert (second.status, second.version) == (200, "v1")
    assert second.error.startswith("curl 18:")


def test_a_body_cannot_forge_another_reply(server: CountingServer, container: dict[str, str]) -> None:
    first, second, third = send(container, server.url("/forged"), 3)
    assert [reply.instance for reply in (first, second, third)] == [f"helloworld-{n}" for n in (1, 2, 3)]
    assert len(second.body.splitlines()) == 6
    assert (third.body, third.answered) == ("Hello version: v2, instance: helloworld-3", True)


def test_all_replies_are_lost_if_all_take_too_long(server: CountingServer, container: dict[str, str]) -> None:
    replies = send(container, server.url("/stuck"), 3, timeout=0.3)
    assert [reply.request_id for reply in replies] == request_ids(BATCH, 3)
    assert [reply.error.partition(":")[0] for reply in replies] == ["curl 28"] * 3


def test_requests_not_sent_within_the_time_of_the_batch_are_lost(
    server: CountingServer, container: dict[str, str]
) -> None:
    printed = run(container, server.url("/stuck"), 50, timeout=0.4, within=2)
    replies = parse(printed, request_ids(BATCH, 50))
    assert len(replies) == 50
    assert not any(reply.answered for reply in replies)
    assert replies[0].error.startswith("curl 28:")
    assert replies[-1].error.startswith("not sent")
    assert server.counts[replies[-1].request_id] == 0


def test_a_batch_ends_once_its_requests_took_too_many_seconds(
    server: CountingServer, container: dict[str, str]
) -> None:
    replies = parse(run(container, server.url("/stuck"), 50, patience=2), request_ids(BATCH, 50))
    assert [reply.answered for reply in replies[:2]] == [True, True], "of 1.5 s each, which count as one"
    assert replies[-1].error.startswith("not sent"), "the rest is not waited for"
    replies = parse(run(container, server.url("/stuck"), 50, timeout=1, patience=1), request_ids(BATCH, 50))
    assert replies[0].error.startswith("curl 28:")
    assert replies[-1].error.startswith("not sent")


def test_slow_requests_are_no_judgement_and_a_failed_one_is(server: CountingServer, container: dict[str, str]) -> None:
    """A mesh is not accused of the slowness of a node, and a batch that hangs is judged."""
    slow = parse(run(container, server.url("/stuck"), 50, patience=2), request_ids(BATCH, 50))
    with pytest.raises(EnvironmentBroke, match="too slow") as told:
        require_all_sent(slow)
    assert f"{sum(reply.answered for reply in slow)} of 50 sent" in str(told.value)
    hanging = parse(run(container, server.url("/slow"), 50, timeout=1, patience=1), request_ids(BATCH, 50))
    require_all_sent(hanging)
    require_all_sent(slow[:2])


def test_a_batch_of_quick_requests_does_not_end_early(server: CountingServer, container: dict[str, str]) -> None:
    replies = parse(run(container, server.url("/hello"), 100, patience=3), request_ids(BATCH, 100))
    assert all(reply.answered for reply in replies)
    replies = parse(run(container, server.url("/slow"), 5, patience=5), request_ids(BATCH, 5))
    assert all(reply.answered for reply in replies), "one slow request is no reason"


def test_a_refused_connection_is_a_lost_reply(container: dict[str, str]) -> None:
    replies = send(container, "http://127.0.0.1:1/hello", 3)
    assert [(reply.status, reply.answered) for reply in replies] == [(0, False)] * 3
    assert all(reply.error.startswith("curl 7:") for reply in replies)


def test_a_request_without_output_is_a_lost_reply(server: CountingServer, container: dict[str, str]) -> None:
    printed = run(container, server.url("/hello"), 2)
    *_, third = parse(printed, request_ids(BATCH, 3))
    assert not third.answered
    assert third.error


def test_output_that_is_cut_off_is_an_error(server: CountingServer, container: dict[str, str]) -> None:
    printed = run(container, server.url("/hello"), 3)
    for end in range(len(printed)):
        with pytest.raises(EnvironmentBroke, match="or not completely"):
            parse(printed[:end], request_ids(BATCH, 3))


def test_a_missing_curl_is_an_error(container: dict[str, str]) -> None:
    (Path(container["PATH"]) / "curl").unlink()
    argv = command("http://127.0.0.1:1/", times=1, batch=BATCH, timeout=1, within=5)
    done = subprocess.run(
        [f"{container['PATH']}/sh", *argv[1:]],
        env=container,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    with pytest.raises(EnvironmentBroke, match="was not sent"):
        parse(done.stdout, request_ids(BATCH, 1))


def test_http_proxy_of_the_environment_is_not_used(server: CountingServer, container: dict[str, str]) -> None:
    (reply,) = send({**container, "http_proxy": "http://127.0.0.1:1"}, server.url("/hello"), 1)
    assert reply.answered


def test_a_page_of_another_server_is_not_an_answer_of_helloworld() -> None:
    reply = Reply("b-1", status=200, body="<h1>It works!</h1>")
    assert (reply.version, reply.instance, reply.answered) == (None, None, False)


def test_no_request_id_is_as_long_as_a_uuid() -> None:
    """Envoy writes the trace state into the 15th character of an id with 36 characters."""
    lengths = {len(name) for name in request_ids("splithorizon-01234567", 99_999)}
    assert 36 not in lengths
