"""An answer hop by hop: joined by the request's id and the gateway's socket, refuted where one leads elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from splithorizon import checks
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks import CheckFailed, Evidence, suspects
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.info import NetworkMode
from splithorizon.istio.topology import Route
from splithorizon.mesh.traced_batch import TracedBatch
from splithorizon.traffic import access_log
from splithorizon.traffic.access_log import AccessLogLine
from splithorizon.traffic.client import Sample
from splithorizon.traffic.correlate import Matched, MatchedReply
from splithorizon.traffic.gateway_stats import server_name
from splithorizon.traffic.requests import Reply
from splithorizon.traffic.trace import Hops, follow

OUT = Route("primary", "remote")
GATEWAY, GATEWAY_POD, POD = "10.89.0.14:15443", "10.20.0.6", "10.20.0.4:5000"
SNI = server_name("sample", "cluster.local")


def line(**said: Any) -> AccessLogLine:
    return AccessLogLine(raw=" ".join(map(str, said.values())), **said)


def hops(number: int) -> Hops:
    request_id, socket = f"batch-{number}", f"{GATEWAY_POD}:{40_000 + number}"
    return Hops(
        Reply(request_id, 200, 0.01, "Hello version: v2, instance: helloworld-v2-x"),
        source_log=line(request_id=request_id, upstream_host=GATEWAY),
        gateway_log=line(upstream_host=POD, upstream_local=socket, requested_server_name=SNI),
        destination_log=(line(request_id=request_id, downstream_remote=socket),),
    )


def sample(pairs: Sequence[MatchedReply], *ambiguous: Reply) -> Sample:
    return Sample(OUT, tuple(pair.reply for pair in pairs), Matched(tuple(pairs), (), ambiguous))


ANSWERS = tuple(hops(number) for number in range(50))
SOUND = TracedBatch(
    OUT,
    sample([MatchedReply(one.reply, one.source_log) for one in ANSWERS]),
    ANSWERS,
    server_name=SNI,
    far_gateway=frozenset({GATEWAY}),
    gateway_pods=frozenset({GATEWAY_POD}),
    far_pods=frozenset({POD}),
    by_hand="kubectl logs gateway",
)


def judge(crossing: TracedBatch) -> Evidence:
    return checks.each_hop_leads_to_the_next(crossing, mode=NetworkMode.LABELS)


def with_one(**changed: Any) -> TracedBatch:
    first, *others = SOUND.answers
    return replace(SOUND, answers=(replace(first, **changed), *others))


def follow_back(lost: Hops | None = None) -> tuple[Hops, ...]:
    """The sound answers, joined anew from nothing but their lines, in another order."""
    answers = [MatchedReply(one.reply, one.source_log) for one in SOUND.answers]
    kept = [one for one in reversed(SOUND.answers) if one is not lost]
    gateway_log = [one.gateway_log for one in kept if one.gateway_log]
    pods = [line for one in SOUND.answers for line in one.destination_log]
    return follow(answers, gateway=gateway_log, pods=pods, server_name=SNI)


def test_each_answer_finds_its_own_line_in_every_log() -> None:
    assert follow_back() == SOUND.answers
    assert all(one.complete for one in follow_back())


def test_a_line_that_is_missing_leaves_its_answer_without_one() -> None:
    found = follow_back(lost=SOUND.answers[7])
    assert [number for number, one in enumerate(found) if not one.complete] == [7]
    assert found[7].gateway_log is None


def test_lines_of_other_connections_and_requests_join_nothing() -> None:
    answer = MatchedReply(SOUND.answers[0].reply, SOUND.answers[0].source_log)
    foreign = line(upstream_host=POD, upstream_local="10.20.0.6:1", requested_server_name=SNI)
    (alone,) = follow([answer], gateway=[foreign, line()], pods=[line(request_id="batch-00"), line()], server_name=SNI)
    assert (alone.gateway_log, alone.destination_log) == (None, ())


def arrived(number: int, *, port: int, at: int, pod: str = POD, gateway: str = GATEWAY_POD) -> AccessLogLine:
    """An answer's line at a pod, which saw this source port."""
    return line(
        request_id=f"batch-{number}",
        start_time=f"2026-11-28T05:44:27.{at:03}Z",
        downstream_remote=f"{gateway}:{port}",
        downstream_local=pod,
    )


def passed_on(*, port: int, at: int) -> AccessLogLine:
    """A gateway's line of a connection that it began from this port."""
    return line(
        start_time=f"2026-11-28T05:44:27.{at:03}Z", upstream_host=POD, upstream_local=f"{GATEWAY_POD}:{port}",
        requested_server_name=SNI,
    )  # fmt: skip


def test_a_source_port_that_the_kernel_rewrote_is_matched_in_the_order_of_time() -> None:
    """As seen on a mesh: the pod's line has 60224 where the gateway's has 33284."""
    answers = [MatchedReply(one.reply, one.source_log) for one in SOUND.answers[:3]]
    gateway = [passed_on(port=33338, at=412), passed_on(port=33284, at=364), passed_on(port=40000, at=1)]
    pods = [arrived(2, port=17014, at=414), arrived(1, port=60224, at=367), arrived(0, port=40000, at=2)]
    found = follow(answers, gateway=gateway, pods=pods, server_name=SNI)
    assert [one.gateway_log for one in found] == [gateway[2], gateway[1], gateway[0]]
    assert [one.rewritten for one in found] == [False, True, True]


@pytest.mark.parametrize(
    "strayed",
    [{"pod": "10.20.0.9:5000"}, {"gateway": "10.20.0.77"}],
    ids=["another pod", "another gateway"],
)
def test_a_line_that_is_left_is_no_answers_from_elsewhere(strayed: dict[str, str]) -> None:
    answer = MatchedReply(SOUND.answers[1].reply, SOUND.answers[1].source_log)
    pods = [arrived(1, port=60224, at=367, **strayed)]
    (found,) = follow([answer], gateway=[passed_on(port=33284, at=364)], pods=pods, server_name=SNI)
    assert found.gateway_log is None


@pytest.mark.parametrize("reverse", [False, True])
def test_of_two_connections_from_one_socket_that_under_the_services_name_counts(reverse: bool) -> None:
    """As seen on a mesh: the gateway used the socket for helloworld, and a moment later for another name of it."""
    answer = MatchedReply(SOUND.answers[1].reply, SOUND.answers[1].source_log)
    own = passed_on(port=33284, at=364)
    lines = [own, replace(passed_on(port=33284, at=100), requested_server_name="outbound_.5000_._.other")]
    pods = [arrived(1, port=33284, at=367)]
    (found,) = follow([answer], gateway=lines[::-1] if reverse else lines, pods=pods, server_name=SNI)
    assert found.gateway_log == own
    (renamed,) = follow([answer], gateway=lines[1:], pods=pods, server_name=SNI)
    assert renamed.gateway_log == lines[1], "a changed name is for the check to say"


def test_a_line_that_is_left_under_another_name_is_no_answers() -> None:
    """As seen on a mesh: connections of other names ended during the batch, and were taken for rewritten ones."""
    answer = MatchedReply(SOUND.answers[1].reply, SOUND.answers[1].source_log)
    foreign = replace(passed_on(port=33338, at=100), requested_server_name="outbound_.5000_._.other")
    own, pods = passed_on(port=33284, at=364), [arrived(1, port=60224, at=367)]
    (found,) = follow([answer], gateway=[foreign, own], pods=pods, server_name=SNI)
    assert (found.gateway_log, found.rewritten) == (own, True)
    (alone,) = follow([answer], gateway=[foreign], pods=pods, server_name=SNI)
    assert alone.gateway_log is None
    same = replace(foreign, upstream_local=f"{GATEWAY_POD}:60224")
    (found,) = follow([answer], gateway=[same, own], pods=pods, server_name=SNI)
    assert found.gateway_log == own, "the changed port is by chance one of another connection"


def test_a_line_is_for_one_answer_alone() -> None:
    answers = [MatchedReply(one.reply, one.source_log) for one in SOUND.answers[1:3]]
    pods = [arrived(1, port=60224, at=367), arrived(2, port=17014, at=414)]
    found = follow(answers, gateway=[passed_on(port=33284, at=364)], pods=pods, server_name=SNI)
    assert [one.complete for one in found] == [True, False]


def test_the_gateways_own_line_names_the_socket_that_it_took() -> None:
    written = (
        '[2026-11-23T02:57:40.001Z] "- - -" 0 - - - "-" 1862 2731 9 - "-" "-" "-" "-" "10.20.0.4:5000" '
        f"{SNI} 10.20.0.6:40922 10.20.0.6:15443 10.89.0.2:33420 {SNI} -\n"
    )
    (read,) = access_log.parse(written).lines
    assert (read.upstream_local, read.upstream_host) == ("10.20.0.6:40922", "10.20.0.4:5000")
    assert (read.requested_server_name, read.response_flags) == (SNI, None)


def test_what_leads_from_hop_to_hop_is_told_with_a_line_of_each() -> None:
    found = judge(SOUND)
    assert found.key_number == "50 in 3 logs each"
    assert found.numbers == {"answers": 50, "connections": 50, "source_ports_rewritten": 0}
    assert len(found.sample_lines) == 3
    assert found.addresses == (GATEWAY, GATEWAY_POD, POD)


SOCKET = f"{GATEWAY_POD}:40000"


@pytest.mark.parametrize(
    ("crossing", "seen", "open_causes"),
    [
        (
            with_one(source_log=line(upstream_host="10.20.0.4:5000")),
            "sent to 10.20.0.4:5000",
            suspects.far_pods_dialled(NetworkMode.LABELS),
        ),
        (
            with_one(source_log=line(upstream_host="192.0.2.1:15443")),
            "sent to 192.0.2.1:15443",
            (causes.GATEWAY_ADDRESS_WRONG, causes.POD_FORWARDS, causes.FAR_VERSION_RUNS_NEAR),
        ),
        (
            with_one(destination_log=(), gateway_log=None),
            "logged 0 times by pods of the remote",
            (causes.REQUEST_ID_CHANGED, causes.STRANGE_POD),
        ),
        (
            with_one(destination_log=ANSWERS[0].destination_log * 2),
            "logged 2 times by pods of the remote",
            (causes.REQUEST_SENT_AGAIN,),
        ),
        (
            with_one(destination_log=(line(downstream_remote="10.20.0.9:1"),), gateway_log=None),
            "came to the pod from 10.20.0.9, and no gateway logged it",
            (causes.GATEWAY_BYPASSED,),
        ),
        (with_one(gateway_log=None), f"came to the pod from {GATEWAY_POD}, and no", (causes.GATEWAY_LOG_INCOMPLETE,)),
        (
            with_one(gateway_log=line(upstream_host=POD, upstream_local=SOCKET, requested_server_name="other")),
            "passed under other (-)",
            (causes.GATEWAY_NAME_CHANGED,),
        ),
        (
            with_one(gateway_log=line(upstream_host=POD, requested_server_name=SNI, response_flags="UC")),
            f"passed under {SNI} (UC)",
            (causes.GATEWAY_CONNECTION_BROKEN,),
        ),
        (
            with_one(gateway_log=line(upstream_host="10.10.0.3:5000", requested_server_name=SNI)),
            "passed on to 10.10.0.3:5000",
            (causes.GATEWAY_HAIRPIN,),
        ),
    ],
    ids=[
        "past the gateway",
        "to another gateway",
        "no pod",
        "twice",
        "relay",
        "no gateway line",
        "other name",
        "flag",
        "stray",
    ],
)
def test_one_answer_whose_hops_lead_elsewhere_refutes_all(
    crossing: TracedBatch, seen: str, open_causes: tuple[Cause, ...]
) -> None:
    with pytest.raises(CheckFailed) as caught:
        judge(crossing)
    assert f"of 50 far answers 1 x {seen}" in caught.value.seen
    assert caught.value.causes == open_causes
    assert caught.value.samples == 50
    assert caught.value.numbers == {"answers": 50, "strayed": 1}


def test_a_gateway_on_its_nodes_network_is_known_by_its_own_line() -> None:
    socket = "10.20.0.1:40000"
    gateway_log = line(upstream_host=POD, upstream_local=socket, requested_server_name=SNI)
    found = with_one(gateway_log=gateway_log, destination_log=(line(downstream_remote=socket),))
    assert judge(found).numbers["answers"] == 50


def test_an_address_of_the_newer_family_is_read_without_its_brackets() -> None:
    (one, *_) = with_one(destination_log=(line(downstream_remote="[fd00::6]:40000"),)).answers
    assert one.came_from == "fd00::6"


def test_answers_that_no_line_of_the_near_side_car_is_joined_to_are_not_passed_over() -> None:
    lost = sample([MatchedReply(one.reply, one.source_log) for one in ANSWERS[:1]], *(one.reply for one in ANSWERS[1:]))
    with pytest.raises(CheckFailed, match="49 with several"):
        judge(replace(SOUND, sample=lost, answers=ANSWERS[:1]))


def test_where_nothing_crosses_nothing_is_proven() -> None:
    with pytest.raises(CheckFailed, match="no answer from the far version") as caught:
        judge(replace(SOUND, answers=()))
    assert caught.value.samples == 50
    assert caught.value.causes == suspects.far_version_missing(NetworkMode.LABELS)


@pytest.mark.parametrize(
    "crossing",
    [
        replace(SOUND, sample=sample([]), answers=()),
        replace(SOUND, gateway_pods=frozenset()),
        replace(SOUND, far_pods=frozenset()),
    ],
    ids=["requests", "gateways", "pods"],
)
def test_nothing_is_said_without_samples(crossing: TracedBatch) -> None:
    with pytest.raises(EnvironmentBroke):
        judge(crossing)


WITHIN = Route("cluster1", "cluster2", False)
CLIENT = "10.10.0.9"


def pod_to_pod(number: int) -> Hops:
    request_id = f"batch-{number}"
    return Hops(
        Reply(request_id, 200, 0.01, "Hello version: v2, instance: helloworld-v2-x"),
        source_log=line(request_id=request_id, upstream_host=POD),
        gateway_log=None,
        destination_log=(line(request_id=request_id, downstream_remote=f"{CLIENT}:{40_000 + number}"),),
    )


DIRECT = tuple(pod_to_pod(number) for number in range(30))
NEIGHBOURS = replace(
    SOUND,
    route=WITHIN,
    sample=sample([MatchedReply(one.reply, one.source_log) for one in DIRECT]),
    answers=DIRECT,
    far_gateway=frozenset(),
    gateway_pods=frozenset(),
    client_pods=frozenset({CLIENT}),
)


def test_within_a_network_each_answer_goes_from_pod_to_pod() -> None:
    found = judge(NEIGHBOURS)
    assert found.key_number == "30 in 2 logs each"
    assert found.addresses == (CLIENT, POD)


TRANSLATED = line(request_id="batch-0", downstream_remote="172.18.0.2:40000")


@pytest.mark.parametrize(
    ("changed", "seen"),
    [
        ({"destination_log": (TRANSLATED,)}, "came to the pod from 172.18.0.2"),
        ({"destination_log": ()}, "logged 0 times by pods of the cluster2"),
        ({"source_log": line(request_id="batch-0", upstream_host=GATEWAY)}, f"sent to {GATEWAY}"),
    ],
    ids=["translated", "not logged", "through a gateway"],
)  # fmt: skip
def test_an_answer_that_does_not_go_from_pod_to_pod_is_refuted(changed: dict[str, Any], seen: str) -> None:
    first, *others = NEIGHBOURS.answers
    with pytest.raises(CheckFailed, match=f"1 x {seen}"):
        judge(replace(NEIGHBOURS, answers=(replace(first, **changed), *others)))


def test_without_an_answer_of_the_other_cluster_nothing_goes_from_pod_to_pod() -> None:
    with pytest.raises(CheckFailed) as refuted:
        judge(replace(NEIGHBOURS, answers=()))
    assert refuted.value.causes == suspects.near_version_missing()
    with pytest.raises(EnvironmentBroke):
        judge(replace(NEIGHBOURS, client_pods=frozenset()))
