"""The gateway's side of a request: seen sound, refuted for each cause, and silent on no samples."""

from __future__ import annotations

from dataclasses import replace

import pytest

from splithorizon import checks
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks import CheckFailed
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.topology import Route
from splithorizon.traffic.gateway_stats import Counts, GatewayStats, server_name
from splithorizon.traffic.requests import Reply

OUT = Route("primary", "remote")
PODS = frozenset({"10.20.0.4:5000"})


def reply(number: int, version: str) -> Reply:
    return Reply(f"batch-{number}", 200, 0.01, f"Hello version: {version}, instance: helloworld-{version}-x")


SOUND = GatewayStats(
    server_name("sample", "cluster.local"),
    tuple(reply(n, "v1" if n % 2 else "v2") for n in range(100)),
    {"gateway-1 of remote": PODS},
    Counts(14_000, 0),
)


def test_the_name_is_the_one_that_side_cars_ask_for() -> None:
    assert server_name("sample", "cluster.local") == "outbound_.5000_._.helloworld.sample.svc.cluster.local"


def test_what_passes_is_told_with_its_numbers() -> None:
    found = checks.gateway_passes_to_own_pods(SOUND, OUT, own_pods=PODS, own_versions={"v2"}, shared=False)
    assert found.key_number == "14000 bytes, 50 answers"
    assert found.numbers == {"passed_bytes": 14_000, "turned_away": 0, "answers": 50}
    assert found.addresses == ("10.20.0.4:5000",)


def through(*of_gateways: frozenset[str]) -> dict[str, frozenset[str]]:
    """What each gateway of a network passes to."""
    return {f"gateway-{number} of remote": found for number, found in enumerate(of_gateways, start=1)}


NOTHING_COMES = (causes.SERVICES_NOT_EXPOSED, causes.GATEWAY_ADDRESS_WRONG, causes.GATEWAY_BYPASSED)


@pytest.mark.parametrize(
    ("passage", "open_causes"),
    [
        (replace(SOUND, upstreams=through(frozenset())), (causes.SERVICE_NOT_EXPORTED,)),
        (
            replace(SOUND, upstreams=through(PODS | {"10.89.0.2:15443"})),
            (causes.GATEWAY_HAIRPIN, causes.STALE_ENDPOINT),
        ),
        (
            replace(SOUND, upstreams=through(frozenset({"10.20.0.5:5000"}) | PODS, PODS)),
            (causes.GATEWAY_HAIRPIN, causes.STALE_ENDPOINT),
        ),
        (replace(SOUND, upstreams={}, counts=Counts(0, 0)), NOTHING_COMES),
        (replace(SOUND, counts=Counts(14_000, 3)), (causes.SERVICES_NOT_EXPOSED,)),
        (replace(SOUND, counts=Counts(0, 0)), NOTHING_COMES),
        (replace(SOUND, replies=SOUND.replies[1::2], counts=Counts(0, 0)), NOTHING_COMES),
        (replace(SOUND, replies=SOUND.replies[1::2]), (causes.POLICY_DENIES, causes.PODS_NOT_SERVING)),
    ],
    ids=[
        "unknown service",
        "hairpin",
        "one of two gateways",
        "no gateway",
        "turned away",
        "past the gateway",
        "no far answer",
        "refused by the pods",
    ],
)
def test_what_does_not_pass_is_refuted_with_its_causes(passage: GatewayStats, open_causes: tuple[Cause, ...]) -> None:
    with pytest.raises(CheckFailed) as caught:
        checks.gateway_passes_to_own_pods(passage, OUT, own_pods=PODS, own_versions={"v2"}, shared=False)
    assert caught.value.causes == open_causes
    assert caught.value.samples == len(passage.replies)
    assert caught.value.numbers == {"passed_bytes": passage.counts.passed, "turned_away": passage.counts.turned_away}


def test_whom_a_gateway_of_others_turns_away_may_be_anybody_while_answers_come_back() -> None:
    found = checks.gateway_passes_to_own_pods(
        replace(SOUND, counts=Counts(14_000, 3)), OUT, own_pods=PODS, own_versions={"v2"}, shared=True
    )
    assert found.numbers["turned_away"] == 3
    nobody = replace(SOUND, replies=SOUND.replies[1::2], counts=Counts(0, 3))
    with pytest.raises(CheckFailed, match=causes.SERVICES_NOT_EXPOSED.text):
        checks.gateway_passes_to_own_pods(nobody, OUT, own_pods=PODS, own_versions={"v2"}, shared=True)


def test_a_pod_that_the_gateway_has_not_heard_of_is_a_late_push() -> None:
    with pytest.raises(CheckFailed, match=causes.PUSH_LATE.text):
        checks.gateway_passes_to_own_pods(
            SOUND, OUT, own_pods=PODS | {"10.20.0.9:5000"}, own_versions={"v2"}, shared=False
        )


@pytest.mark.parametrize(("passage", "pods"), [(replace(SOUND, replies=()), PODS), (SOUND, frozenset[str]())])
def test_nothing_is_said_without_samples(passage: GatewayStats, pods: frozenset[str]) -> None:
    with pytest.raises(EnvironmentBroke):
        checks.gateway_passes_to_own_pods(passage, OUT, own_pods=pods, own_versions={"v2"}, shared=False)


def test_counts_are_of_the_time_between() -> None:
    assert Counts(15, 4).since(Counts(10, 4)) == Counts(5, 0)


def test_a_gateway_that_does_not_know_a_pod_is_named_though_another_does() -> None:
    pods = PODS | {"10.30.0.4:5000"}
    passage = replace(SOUND, upstreams=through(pods, PODS))
    with pytest.raises(CheckFailed) as caught:
        checks.gateway_passes_to_own_pods(passage, OUT, own_pods=pods, own_versions={"v2"}, shared=False)
    assert caught.value.seen.startswith("with gateway-2 of remote it goes to 10.20.0.4:5000; 14000 bytes")
    assert caught.value.causes == (causes.PUSH_LATE, causes.POD_NOT_READY)
