"""Losses that proxies hide: refuted where they are more than chance, and never where a mesh is sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from splithorizon import checks
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks import CheckFailed, Evidence, suspects
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.info import NetworkMode
from splithorizon.istio.topology import PRIMARY_REMOTE
from splithorizon.traffic.access_log import AccessLogLine
from splithorizon.traffic.client import Sample
from splithorizon.traffic.correlate import join
from splithorizon.traffic.new_connections import AT_ONCE, LEFT_OUT, NEAR_AT_ONCE, ROUNDS, NewConnections
from splithorizon.traffic.requests import Reply
from splithorizon.traffic.upstream_counts import Attempts, Host, HostCounts

OUT, _ = PRIMARY_REMOTE.routes
LABELS = NetworkMode.LABELS
NEAR, GATEWAY, OTHER = "10.10.0.7:5000", "10.89.0.14:15443", "10.89.0.244:15443"
CLUSTER = "outbound|5000||helloworld.sample.svc.cluster.local"
HELLO = "Hello version: v2, instance: helloworld-v2-x"

Counts = Mapping[str, HostCounts]


def sample(grown: Counts, *, open_before: int = 0, ended: Mapping[str, int] | None = None, errors: int = 0) -> Sample:
    """A batch that ended as often at each address as the log says: 50 near and 50 far, or ``ended``."""
    ended = ended or {NEAR: 50, GATEWAY: 50}
    hosts = [address for address, count in ended.items() for _ in range(count)]
    replies = tuple(Reply(f"b-{number}", 200, 0.01, HELLO) for number in range(100))
    lines = [AccessLogLine(raw=one, request_id=f"b-{number}", upstream_host=one) for number, one in enumerate(hosts)]
    before = {(CLUSTER, address): Host(HostCounts(rq_total=7), open_before) for address in grown}
    after = {
        (CLUSTER, address): Host(
            HostCounts(one.cx_total, one.cx_connect_fail, one.rq_total + 7, one.rq_error, one.rq_timeout)
        )
        for address, one in grown.items()
    }
    return Sample(OUT, replies, join(replies, lines), Attempts(before, after), errors)


def hidden(found: Sample) -> Evidence:
    return checks.no_hidden_attempts(found, near_pods={NEAR}, mode=LABELS)


def sent(count: int, *, failed: int = 0, errors: int = 0) -> HostCounts:
    return HostCounts(cx_total=failed, cx_connect_fail=failed, rq_total=count, rq_error=errors)


SOUND: dict[str, Sample] = {
    "one attempt for each request": sample({NEAR: sent(50), GATEWAY: sent(50)}),
    "an address that nothing went to": sample({NEAR: sent(50), GATEWAY: sent(50), OTHER: sent(0)}),
    "a request was on a connection that the other side closed just then": sample(
        {NEAR: sent(50), GATEWAY: sent(51)}, open_before=1
    ),
    "the service answered 503, and a rule had the sidecar try again": sample(
        {NEAR: sent(53, errors=3), GATEWAY: sent(50)}, errors=3
    ),
    "answered 503 by the service, and not tried again": sample({NEAR: sent(50, errors=50), GATEWAY: sent(50)}),
    "an attempt of a request that has no line": sample(
        {NEAR: sent(50), GATEWAY: sent(50)}, ended={NEAR: 50, GATEWAY: 49}
    ),
    "a request that no endpoint got, for the sidecar answered it": sample(
        {NEAR: sent(50), GATEWAY: sent(49)}, ended={NEAR: 50, GATEWAY: 49, "None": 1}
    ),
}


@pytest.mark.parametrize("found", SOUND.values(), ids=SOUND)
def test_a_sound_mesh_makes_no_hidden_attempt(found: Sample) -> None:
    assert hidden(found).key_number == "100 attempts"


REFUTED: dict[str, tuple[Sample, str, tuple[Cause, ...]]] = {
    "one of two addresses refuses": (
        sample({NEAR: sent(50), GATEWAY: sent(50), OTHER: sent(0, failed=25)}),
        f"at {OTHER} 25 connections failed",
        (causes.GATEWAY_ADDRESS_REFUSES,),
    ),
    "the only gateway refuses": (
        sample({NEAR: sent(100), GATEWAY: sent(0, failed=50)}, ended={NEAR: 100}),
        f"at {GATEWAY} 50 connections failed",
        suspects.far_endpoint_unreachable(LABELS),
    ),
    "the gateway refuses now and then": (
        sample({NEAR: sent(50), GATEWAY: sent(50, failed=1)}),
        f"at {GATEWAY} 1 connections failed",
        (causes.CONNECTIONS_DROPPED, causes.GATEWAY_CONNECTION_BROKEN),
    ),
    "a near pod refuses": (
        sample({NEAR: sent(50, failed=4), GATEWAY: sent(50)}),
        f"at {NEAR} 4 connections failed",
        (causes.PODS_NOT_SERVING,),
    ),
    "requests are sent again, more than there were connections": (
        sample({NEAR: sent(50), GATEWAY: sent(53)}, open_before=1),
        f"at {GATEWAY} 2 requests were sent again",
        (causes.CONNECTION_CUT,),
    ),
    "more are sent again than the service answered by 5xx": (
        sample({NEAR: sent(55), GATEWAY: sent(50)}, errors=3),
        f"at {NEAR} 5 requests were sent again",
        (causes.CONNECTION_CUT,),
    ),
}


@pytest.mark.parametrize(("found", "seen", "why"), REFUTED.values(), ids=REFUTED)
def test_hidden_attempts_refute_and_are_attributed_to_their_endpoint(
    found: Sample, seen: str, why: tuple[Cause, ...]
) -> None:
    with pytest.raises(CheckFailed) as failed:
        hidden(found)
    assert seen in str(failed.value)
    assert failed.value.causes == why
    assert failed.value.numbers["requests"] == 100


@pytest.mark.parametrize(
    "attempts",
    [
        Attempts({(CLUSTER, GATEWAY): Host()}, {(CLUSTER, NEAR): Host()}),
        Attempts({(CLUSTER, NEAR): Host(HostCounts(rq_total=9))}, {(CLUSTER, NEAR): Host(HostCounts(rq_total=3))}),
        Attempts({}, {}),
    ],
    ids=["an endpoint left", "a counter went backwards", "nothing was counted"],
)
def test_counters_that_say_nothing_are_no_judgement(attempts: Attempts) -> None:
    found = sample({NEAR: sent(50), GATEWAY: sent(50)})
    with pytest.raises(EnvironmentBroke):
        hidden(Sample(OUT, found.replies, found.matched, attempts))


RESET = -1.0
"""In place of the seconds that an answer took: the connection was reset."""


def reply(seconds: float | None, status: int = 200) -> Reply:
    if seconds == RESET:
        return Reply("b-1", error="curl 56: Recv failure: Connection reset by peer")
    if seconds is None:
        return Reply("b-1", error="curl 28: Operation timed out")
    return Reply("b-1", status, seconds, HELLO if status == 200 else "RBAC: access denied")


def connections(
    far: list[Reply], near: list[Reply] | None = None, attempts: Attempts | None = None, count: int = ROUNDS
) -> NewConnections:
    """Rounds that all begin with the same replies, and go on with sound ones."""
    sound, others = [reply(0.02)] * AT_ONCE, [reply(0.01)] * NEAR_AT_ONCE
    rounds = ((*far, *sound[len(far) :]),) * count
    return NewConnections(
        OUT, rounds, ((*(near or []), *others[len(near or []) :]),) * count, attempts or Attempts({}, {})
    )


def made(found: NewConnections) -> Evidence:
    return checks.new_connections_made(found, mode=LABELS)


def at(**addresses: HostCounts) -> Attempts:
    named = {"gateway": GATEWAY, "other": OTHER}
    return Attempts({}, {(CLUSTER, named[name]): Host(counts) for name, counts in addresses.items()})


def test_connections_that_are_made_at_once_are_evidence() -> None:
    found = made(connections([], attempts=at(gateway=sent(420))))
    assert found.key_number == "420 new, 0 lost"
    assert found.numbers["connections"] == (ROUNDS - LEFT_OUT) * AT_ONCE
    assert found.numbers["accepted"] == 16
    assert found.addresses == (GATEWAY,)


def test_a_few_late_ones_are_evidence_and_no_refutation() -> None:
    rounds = connections([]).far
    some = ((*rounds[0][:-5], *[reply(1.02)] * 5), *rounds[1:])
    found = made(NewConnections(OUT, some, connections([]).near))
    assert found.key_number == "420 new, 5 lost"
    assert found.numbers["late_of_all_rounds"] == 5


def test_300_milliseconds_more_for_each_are_sound() -> None:
    slow = [reply(0.32)] * AT_ONCE
    assert made(connections(slow)).numbers["median_seconds"] == 0.32


LOST: dict[str, tuple[NewConnections, str, tuple[Cause, ...]]] = {
    "late": (connections([reply(1.02)] * 5), "95 late and 0 failed of 380", (causes.CONNECTIONS_DROPPED,)),
    "late, and some without an answer": (
        connections([reply(1.02)] * 2 + [reply(None)]),
        "16 x curl 28",
        (causes.CONNECTIONS_DROPPED,),
    ),
    "none is answered": (
        connections([reply(None)] * AT_ONCE, count=3),
        "0 late and 20 failed of 20",
        suspects.far_version_missing(LABELS),
    ),
    "a policy refuses them": (
        connections([reply(0.02, 403)] * AT_ONCE, count=3),
        "60 x HTTP 403",
        (causes.POLICY_DENIES,),
    ),
    "one of several addresses refuses": (
        connections([reply(None)] * 5, attempts=at(gateway=sent(270), other=sent(0, failed=90))),
        "0 late and 95 failed of 380",
        (causes.GATEWAY_ADDRESS_REFUSES,),
    ),
}


@pytest.mark.parametrize(("found", "seen", "why"), LOST.values(), ids=LOST)
def test_more_losses_than_chance_gives_refute(found: NewConnections, seen: str, why: tuple[Cause, ...]) -> None:
    with pytest.raises(CheckFailed) as failed:
        made(found)
    assert seen.replace("16 x", f"{ROUNDS} x") in str(failed.value)
    assert failed.value.causes == why


def test_some_that_fail_at_an_address_that_serves_leave_several_causes_open() -> None:
    with pytest.raises(CheckFailed) as failed:
        made(connections([reply(None)] * 5, attempts=at(gateway=sent(270, failed=90))))
    assert causes.CONNECTIONS_DROPPED in failed.value.causes
    assert causes.POD_WITHOUT_SIDECAR in failed.value.causes


def test_a_client_that_is_held_up_itself_says_nothing_of_the_far_network() -> None:
    with pytest.raises(EnvironmentBroke, match="held up"):
        made(connections([reply(1.02)] * 5, near=[reply(1.02)] * 2))


def rounds(*times: list[float | None]) -> NewConnections:
    far = tuple(tuple(map(reply, one)) for one in times)
    return NewConnections(OUT, far, ((reply(0.01),) * NEAR_AT_ONCE,) * len(far), Attempts({}, {}))


def test_rounds_that_stood_still_as_a_whole_are_no_judgement_and_hide_no_loss() -> None:
    still: list[float | None] = [1.2] * AT_ONCE
    moving: list[float | None] = [0.02] * AT_ONCE
    losing: list[float | None] = [None, None, *moving[2:]]
    with pytest.raises(EnvironmentBroke, match="stood still at once"):
        made(rounds(*[still] * (LEFT_OUT + 1), *[moving] * (ROUNDS - LEFT_OUT - 1)))
    assert made(rounds(*[still] * LEFT_OUT, *[moving] * (ROUNDS - LEFT_OUT))).numbers["late"] == 0
    with pytest.raises(CheckFailed) as failed:
        made(rounds(*[still] * (LEFT_OUT + 1), *[losing] * (ROUNDS - LEFT_OUT - 1)))
    assert "0 late and 36 failed of 360" in failed.value.seen


def with_held_up(count: int, found: NewConnections) -> NewConnections:
    """First so many rounds in which both networks stood still."""
    late: list[float | None] = [1.2] * AT_ONCE
    return replace(rounds(*[late] * count), near=((reply(1.2),) * NEAR_AT_ONCE,) * count).and_then(found)


def test_rounds_in_which_the_client_was_held_up_are_left_out_where_enough_others_are_there() -> None:
    moving: list[float | None] = [0.02] * AT_ONCE
    assert made(with_held_up(5, rounds(*[moving] * ROUNDS))).numbers["connections"] == (ROUNDS - LEFT_OUT) * AT_ONCE
    with pytest.raises(EnvironmentBroke, match="stood still at once") as broke:
        made(with_held_up(5, rounds(*[moving] * (ROUNDS - 1))))
    assert "5 of 25 rounds, 5 of them within the near network as well" in str(broke.value)
    with pytest.raises(CheckFailed):
        made(with_held_up(5, rounds(*[[None, None, *moving[2:]]] * ROUNDS)))


def test_late_connections_that_were_queued_are_no_judgement_and_failed_ones_are() -> None:
    queue: list[float | None] = [0.05 * number for number in range(1, AT_ONCE - 1)]
    with pytest.raises(EnvironmentBroke, match="wait for each other"):
        made(rounds(*[[*queue, 2.5, 2.5]] * ROUNDS))
    with pytest.raises(EnvironmentBroke, match="wait for each other"):
        made(rounds(*[[*queue, None, None]] * ROUNDS))
    with pytest.raises(CheckFailed):
        made(rounds(*[[*queue, RESET, RESET]] * ROUNDS))
    with pytest.raises(CheckFailed):
        made(rounds(*[[*[0.02] * (AT_ONCE - 2), None, None]] * ROUNDS))
    long_way: list[float | None] = [0.5 + 0.01 * number for number in range(1, AT_ONCE - 1)]
    with pytest.raises(CheckFailed):
        made(rounds(*[[*long_way, 2.5, 2.5]] * ROUNDS))


def test_no_connection_at_all_is_no_judgement() -> None:
    with pytest.raises(EnvironmentBroke):
        made(NewConnections(OUT, (), ()))
