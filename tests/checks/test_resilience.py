"""Each check of a recovery passes on a mesh that recovers, and goes red, saying why, on one that does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from splithorizon import checks
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.waiting import NotYet
from splithorizon.checks import CheckFailed, Evidence
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.disruption import recovery
from splithorizon.disruption.recovery import Batch, Recovery, Replacement, Traffic
from splithorizon.istio.topology import PRIMARY_REMOTE
from splithorizon.traffic.access_log import AccessLogLine
from splithorizon.traffic.client import Sample
from splithorizon.traffic.correlate import join
from splithorizon.traffic.requests import Reply

OUT, BACK = PRIMARY_REMOTE.routes
NEAR_POD, OLD_POD, GATEWAY = "10.10.0.7:5000", "10.10.0.6:5000", "192.0.2.9:15443"
PATHS = {"v1": frozenset({NEAR_POD}), "v2": frozenset({GATEWAY})}

STATE = "every client is answered by every cluster"
REACHED = Recovery(STATE, 1.5, 60, "primary")
MISSED = Recovery(STATE, 60.2, 60, "primary", "the primary's client: 0 of 40 lost, the others answered by v1")

Check = Callable[[], Evidence]


def reply(number: int, version: str, pod: str = "helloworld-new") -> Reply:
    return Reply(f"b-{number}", status=200, seconds=0.01, body=f"Hello version: {version}, instance: {pod}")


LOST = Reply("b-lost", status=503, body="no healthy upstream")
TIMED_OUT = Reply("b-late", error="curl 28: Operation timed out")


def batch(*ways: tuple[str, str], lost: tuple[Reply, ...] = (), unlogged: int = 0) -> Batch:
    """Replies of versions by way of upstreams, each with its line but for the last few."""
    found = [reply(number, version) for number, (version, _) in enumerate(ways)]
    lines = [
        AccessLogLine(raw=f"{one.request_id} {upstream}", request_id=one.request_id, upstream_host=upstream)
        for one, (_, upstream) in zip(found, ways, strict=True)
    ]
    refused = [
        AccessLogLine(raw=one.request_id, request_id=one.request_id, response_flags="UH") for one in lost if one.status
    ]
    matched = join((*found, *lost), (*lines[: len(lines) - unlogged], *refused))
    return Batch(Sample(OUT, (*found, *lost), matched), PATHS)


SOUND = batch(("v1", NEAR_POD), ("v2", GATEWAY), ("v2", GATEWAY))


def traffic(*replies: Reply) -> Traffic:
    return Traffic({OUT: (reply(1, "v1"), *replies), BACK: (reply(2, "v2"),)}, REACHED)


NEW = Replacement("remote", "v2", "helloworld-new", REACHED)

TIMES: dict[Callable[[Recovery], Evidence], tuple[Cause, ...]] = {
    checks.recovered: (causes.REMOTE_SECRET_REFUSED, causes.WATCH_HANGS, causes.PUSH_LATE),
    checks.gateway_recovered: (
        causes.GATEWAY_SERVICE_SELECTS_ABSENT_POD,
        causes.GATEWAY_ADDRESS_WRONG,
        causes.PUSH_LATE,
    ),
    checks.new_token_followed: (causes.REMOTE_SECRET_REFUSED, causes.WATCH_HANGS),
    checks.far_endpoints_left: (causes.REMOTE_NAMED_TWICE, causes.PUSH_LATE),
    checks.prefers_own_network: (causes.OLDER_RULE, causes.PUSH_LATE),
    checks.failed_over: (causes.STALE_ENDPOINT, causes.GATEWAY_NOT_SERVING),
    checks.wrong_address_followed: (causes.GATEWAY_ADDRESS_NAMED_TWICE, causes.PUSH_LATE),
    checks.other_gateways_stay: (
        causes.GATEWAY_SERVICE_WITHOUT_NETWORK,
        causes.MESH_NETWORKS_WITHOUT_GATEWAY,
        causes.REMOTE_NAMED_TWICE,
        causes.PUSH_LATE,
    ),
    checks.goes_on_alone: (causes.RETRIES_CHANGED, causes.GATEWAY_DROPS_PACKETS),
    checks.istiod_started: (causes.REMOTE_CLUSTER_TIMEOUT_LONG, causes.ISTIOD_MAY_NOT_READ),
    checks.scaled: (causes.ISTIOD_UNREACHABLE, causes.POD_NOT_READY),
}


@pytest.mark.parametrize("check", TIMES)
def test_a_state_that_came_in_time_is_evidence_with_its_time(check: Callable[[Recovery], Evidence]) -> None:
    found = check(REACHED)
    assert found.numbers == {"recovered_after": 1.5, "within": 60, "state": STATE}
    assert STATE in found.claim
    assert found.key_number == "after 1.5 s"


@pytest.mark.parametrize(("check", "open_causes"), TIMES.items())
def test_a_state_that_did_not_come_is_refuted_with_its_causes(
    check: Callable[[Recovery], Evidence], open_causes: tuple[Cause, ...]
) -> None:
    with pytest.raises(CheckFailed) as refuted:
        check(MISSED)
    assert refuted.value.causes == open_causes
    assert refuted.value.expected == "within 60 s"
    assert refuted.value.seen == f"after 60 s: {MISSED.last_seen}"
    assert refuted.value.numbers["recovered_after"] == 60.2


def test_every_request_answered_by_its_own_path_is_evidence() -> None:
    found = checks.answered_as_it_should([SOUND, SOUND])
    assert found.numbers == {"requests": 6, "joined": 6, "unjoined": 0}
    assert len(found.sample_lines) == 2


LOST_AT = (causes.STALE_ENDPOINT, causes.GATEWAY_SERVICE_SELECTS_ABSENT_POD)
MISLED = (causes.STALE_ENDPOINT, causes.PUSH_LATE)
BAD: dict[str, tuple[Batch, str, tuple[Cause, ...]]] = {
    "a request is lost": (
        batch(("v1", NEAR_POD), ("v2", GATEWAY), lost=(LOST, TIMED_OUT)),
        "primary→remote: 2 of 4 lost, 1 x HTTP 503 (no healthy upstream) UH at no upstream, "
        "1 x curl 28: Operation timed out",
        LOST_AT,
    ),
    "a pod of before": (
        batch(("v1", OLD_POD), ("v2", GATEWAY)),
        f"primary→remote: 1 from v1 at {OLD_POD}",
        MISLED,
    ),
    "a version too few": (batch(("v1", NEAR_POD)), "primary→remote: none from v2", MISLED),
    "a version too many": (
        replace(SOUND, paths={"v1": PATHS["v1"]}),
        f"primary→remote: 2 from v2 at {GATEWAY}",
        MISLED,
    ),
    "no line of its own": (
        batch(("v1", NEAR_POD), ("v2", GATEWAY), ("v2", GATEWAY), unlogged=1),
        "primary→remote: 1 of 3 without a log line of their own",
        MISLED,
    ),
}


@pytest.mark.parametrize(("bad", "seen", "open_causes"), BAD.values(), ids=BAD)
def test_one_bad_batch_refutes_all(bad: Batch, seen: str, open_causes: tuple[Cause, ...]) -> None:
    with pytest.raises(CheckFailed) as refuted:
        checks.answered_as_it_should([SOUND, bad])
    assert refuted.value.seen == seen
    assert refuted.value.causes == open_causes
    assert refuted.value.samples == 3 + len(bad.sample.replies)


def test_two_bad_batches_of_one_route_are_both_told_of() -> None:
    bad = [batch(("v1", OLD_POD), ("v2", GATEWAY)), batch(("v1", NEAR_POD))]
    with pytest.raises(CheckFailed) as refuted:
        checks.answered_as_it_should(bad)
    assert refuted.value.seen == f"primary→remote: 1 from v1 at {OLD_POD}; primary→remote: none from v2"


def test_traffic_without_a_loss_is_evidence() -> None:
    assert checks.nothing_lost(traffic()).numbers == {"requests": 2, "lost": 0}


def test_one_lost_request_refutes_that_none_is() -> None:
    with pytest.raises(CheckFailed) as refuted:
        checks.nothing_lost(traffic(LOST))
    assert (
        refuted.value.seen
        == "1 of 2 lost primary→remote, 0 of 1 lost remote→primary; 1 x HTTP 503 (no healthy upstream)"
    )
    assert refuted.value.causes == (causes.ENDPOINTS_REMOVED_LATE, causes.PROXY_NEEDS_ISTIOD)
    assert refuted.value.numbers == {"requests": 3, "lost": 1}


def test_losses_are_counted_and_not_judged() -> None:
    assert checks.losses_counted(traffic(LOST, TIMED_OUT)).numbers == {"requests": 4, "lost": 2}


def test_every_answer_of_the_new_pod_is_evidence() -> None:
    assert checks.new_pod_answers(NEW, [SOUND]).numbers == {"answers": 2}


def test_an_answer_of_another_pod_refutes_that_the_new_one_answers() -> None:
    with pytest.raises(CheckFailed) as refuted:
        checks.new_pod_answers(replace(NEW, pod="helloworld-newer"), [SOUND])
    assert refuted.value.seen == "2 from helloworld-new"
    assert refuted.value.causes == (causes.STRANGE_POD, causes.PODS_REPLACED)


NOTHING = Batch(Sample(OUT, (), join([], [])), PATHS)
NO_SAMPLES: dict[str, Check] = {
    "no batch": lambda: checks.answered_as_it_should([]),
    "an empty batch": lambda: checks.answered_as_it_should([NOTHING]),
    "no traffic": lambda: checks.nothing_lost(Traffic({OUT: (), BACK: ()}, REACHED)),
    "traffic one way": lambda: checks.nothing_lost(Traffic({OUT: (reply(1, "v1"),), BACK: ()}, REACHED)),
    "nothing but losses": lambda: checks.losses_counted(Traffic({OUT: (LOST,), BACK: (LOST,)}, REACHED)),
    "no answer of that version": lambda: checks.new_pod_answers(NEW, [batch(("v1", NEAR_POD))]),
}


@pytest.mark.parametrize("check", NO_SAMPLES.values(), ids=NO_SAMPLES)
def test_without_samples_nothing_is_said(check: Check) -> None:
    with pytest.raises(EnvironmentBroke, match="0 samples"):
        check()


def test_a_state_that_does_not_come_is_an_answer_and_what_breaks_is_not() -> None:
    def never() -> None:
        raise NotYet("only v1")

    def broken() -> None:
        raise EnvironmentBroke("the cluster is gone")

    missed = recovery.measure("both answer", never, since=time.monotonic(), within=0, cluster="east")
    assert not missed.reached
    assert "only v1" in missed.last_seen
    assert (
        recovery.measure("both answer", lambda: None, since=time.monotonic() - 5, within=60, cluster="east").seconds
        >= 5
    )
    late = recovery.measure("both answer", lambda: None, since=time.monotonic() - 61, within=60, cluster="east")
    assert (late.reached, late.last_seen) == (False, "it was there, too late")
    with pytest.raises(EnvironmentBroke, match="the cluster is gone"):
        recovery.measure("both answer", broken, since=time.monotonic(), within=0, cluster="east")
