"""Requests on connections of their own: the script, with real shells and a real server, and what its times show."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from splithorizon.istio.topology import Route
from splithorizon.traffic.new_connections import (
    AT_ONCE,
    LEFT_OUT,
    MOST_ROUNDS,
    NEAR_AT_ONCE,
    ROUNDS,
    Losses,
    NewConnections,
    command,
    parse,
    service_of,
)
from splithorizon.traffic.requests import Reply
from splithorizon.traffic.upstream_counts import Attempts, Host, HostCounts
from tests.support import script_container
from tests.support.script_container import SHELLS, CountedHandler, CountingServer, serving

OUT = Route("primary", "remote")
BATCH = "splithorizon-5ac4e1d0"
HELLO = "Hello version: v2, instance: helloworld-v2-x"


class Hello(CountedHandler):
    """Answers, but for the second request, which it closes, and the third, which takes its time."""

    def answer(self, request_id: str) -> None:
        if self.path == "/odd" and request_id == f"{BATCH}-2":
            self.close_connection = True
            return
        if self.path == "/odd" and request_id == f"{BATCH}-3":
            time.sleep(0.3)
        body = HELLO.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[CountingServer]:
    with serving(Hello) as running:
        yield running


@pytest.fixture(params=SHELLS)
def container(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    return script_container.container(tmp_path, request.param, ("awk", "grep", "mktemp", "mkdir", "rm", "cat"))


def sent(container: dict[str, str], far: str, near: str, rounds: int = 1) -> NewConnections:
    argv = command(far, near, rounds=rounds, batch=BATCH, timeout=5)
    done = subprocess.run(argv, env=container, capture_output=True, text=True, timeout=60, check=True)
    return parse(done.stdout, OUT, rounds=rounds, batch=BATCH)


def test_every_request_has_a_connection_of_its_own_and_is_sent_once(
    container: dict[str, str], server: CountingServer
) -> None:
    found = sent(container, server.url("/odd"), server.url("/near"), rounds=2)
    assert [len(one) for one in found.far] == [AT_ONCE, AT_ONCE]
    assert [len(one) for one in found.near] == [NEAR_AT_ONCE, NEAR_AT_ONCE]
    assert set(server.counts.values()) == {1}
    assert len(server.counts) == len(server.connections) == 2 * (AT_ONCE + NEAR_AT_ONCE)
    _, closed, slow, *_ = found.far[0]
    assert "curl 52" in closed.error
    assert slow.seconds > 0.3
    assert sum(reply.answered for one in found.far for reply in one) == 2 * AT_ONCE - 1
    assert all(reply.answered for one in found.near for reply in one)
    assert list((Path(container["TMPDIR"])).iterdir()) == []


def test_the_near_network_may_be_left_out(container: dict[str, str], server: CountingServer) -> None:
    argv = command(server.url("/far"), server.url("/near"), rounds=2, batch=BATCH, timeout=5, near_at_once=0)
    done = subprocess.run(argv, env=container, capture_output=True, text=True, timeout=60, check=True)
    found = parse(done.stdout, OUT, rounds=2, batch=BATCH, near_at_once=0)
    assert sum(reply.answered for one in found.far for reply in one) == 2 * AT_ONCE == len(server.counts)
    assert found.near == ()
    assert not found.near_fails


def test_where_nothing_listens_every_request_fails(container: dict[str, str], server: CountingServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    found = sent(container, f"http://127.0.0.1:{port}/", server.url("/near"))
    assert found.all_losses == Losses(AT_ONCE, 0, AT_ONCE)
    assert next(iter(found.failures)).startswith("curl 7")
    assert found.median == 0


def rounds(times: Sequence[Sequence[float | None]]) -> NewConnections:
    """Replies after so many seconds, or none at all."""
    replies = tuple(
        tuple(
            Reply(f"b-{number}", error="curl 28: Operation timed out")
            if seconds is None
            else Reply(f"b-{number}", 200, seconds, HELLO)
            for number, seconds in enumerate(one)
        )
        for one in times
    )
    return NewConnections(OUT, replies, (near_reply(0.01) * NEAR_AT_ONCE,) * len(replies))


def near_reply(seconds: float) -> tuple[Reply, ...]:
    return (Reply("b-near-1", 200, seconds, HELLO),)


def lost(each: int, seconds: float | None = 1.02, count: int = ROUNDS, usual: float = 0.02) -> NewConnections:
    """Every round loses so many of its connections."""
    return rounds([[seconds] * each + [usual] * (AT_ONCE - each)] * count)


SOUND = lost(0)
KEPT = (ROUNDS - LEFT_OUT) * AT_ONCE


def test_at_least_300_connections_are_judged() -> None:
    assert SOUND.losses == Losses(KEPT, 0, 0)
    assert KEPT >= 300


def test_a_connection_is_late_by_a_retransmission_and_not_by_a_long_way() -> None:
    assert lost(2).losses == Losses(KEPT, 2 * (ROUNDS - LEFT_OUT), 0)
    assert lost(2, seconds=0.8).losses.count == 0
    assert lost(2, seconds=1.02, usual=0.32).losses.count == 0
    assert lost(2, seconds=1.32, usual=0.32).losses.late == 2 * (ROUNDS - LEFT_OUT)
    assert lost(0, usual=4.0).losses.count == 0


def test_connections_that_were_queued_are_not_late() -> None:
    """A sidecar that is short of processor time makes the connections of a round one after the other, up to 3 s."""
    queued = rounds([[0.15 * number for number in range(1, AT_ONCE + 1)]] * ROUNDS)
    assert queued.losses.count == 0


def test_a_request_without_an_answer_is_a_failed_connection() -> None:
    assert lost(3, seconds=None).losses == Losses(KEPT, 0, 3 * (ROUNDS - LEFT_OUT), 3 * (ROUNDS - LEFT_OUT))


def test_a_moment_in_which_everything_stood_still_is_left_out() -> None:
    still = [[1.2] * AT_ONCE] * LEFT_OUT
    found = rounds([*still, *[[0.02] * AT_ONCE] * (ROUNDS - LEFT_OUT)])
    assert found.losses.count == 0
    assert found.all_losses.late == LEFT_OUT * AT_ONCE


def test_rounds_that_stood_still_as_a_whole_are_no_rate_of_losses() -> None:
    moving = [[0.02] * AT_ONCE] * (ROUNDS - 5)
    found = rounds([*[[1.2] * AT_ONCE] * 5, *moving])
    assert found.standstills == 5
    assert found.losses == Losses((ROUNDS - 5) * AT_ONCE, 0, 0)
    # Half of a round is no standstill: that many may be lost by chance, where many are.
    half = [1.2] * (AT_ONCE // 2) + [0.02] * (AT_ONCE // 2)
    found = rounds([*[half] * 5, *moving])
    assert (found.standstills, found.losses.late) == (0, (5 - LEFT_OUT) * AT_ONCE // 2)
    assert rounds([*[[None] * AT_ONCE] * 5, *moving]).standstills == 0


def with_held_up(count: int, found: NewConnections) -> NewConnections:
    """First so many rounds in which more than half came late in both networks."""
    still = rounds([[1.2] * 11 + [0.02] * 9] * count)
    near = (*near_reply(1.2) * 3, *near_reply(0.01) * 2)
    return replace(still, near=(near,) * count).and_then(found)


def test_rounds_in_which_the_client_was_held_up_are_left_out_and_come_on_top() -> None:
    assert not with_held_up(5, lost(0, count=ROUNDS - 1)).decided
    found = with_held_up(5, SOUND)
    assert found.decided
    assert (found.held_up, found.standstills, found.losses) == (5, 0, SOUND.losses)
    assert with_held_up(5, lost(2)).losses == lost(2).losses
    assert not with_held_up(ROUNDS + 1, lost(0, count=ROUNDS - 2)).decided
    assert with_held_up(ROUNDS + 1, lost(0, count=ROUNDS - 1)).decided, f"no more than {MOST_ROUNDS} rounds"


def test_losses_exceed_one_in_a_hundred_only_beyond_chance() -> None:
    """By the exact sums: 17 and more of 380 come with 4.6e-07, 16 and more with 2.1e-06."""
    assert not Losses(KEPT, 10, 6).exceed()
    assert Losses(KEPT, 10, 7).exceed()
    assert not Losses(0, 0, 0).exceed()


def test_more_rounds_are_sent_until_all_are_there_or_too_much_is_lost() -> None:
    assert not lost(0, count=3).decided
    assert SOUND.decided
    assert lost(AT_ONCE, seconds=None, count=3).decided
    assert not lost(5, count=3).decided
    assert lost(5, count=6).decided


def test_what_decides_early_is_not_undone_by_more_rounds() -> None:
    early = lost(5, count=6)
    later = early.and_then(lost(0, count=ROUNDS - 6))
    assert early.losses.exceed()
    assert later.losses.exceed()


def test_two_parts_are_counted_from_the_beginning_of_the_first() -> None:
    def counted(before: int, after: int) -> Attempts:
        place = ("outbound", "10.89.0.14:15443")
        return Attempts(
            {place: Host(HostCounts(cx_connect_fail=before))}, {place: Host(HostCounts(cx_connect_fail=after))}
        )

    first = NewConnections(OUT, SOUND.far[:1], SOUND.near[:1], counted(1, 4))
    both = first.and_then(NewConnections(OUT, SOUND.far[1:2], SOUND.near[1:2], counted(4, 6)))
    assert both.refused_at == {"10.89.0.14:15443": 5}
    assert len(both.far) == len(both.near) == 2


def test_the_service_of_a_version_has_its_name() -> None:
    assert service_of("v2") == "new-connections-v2"
