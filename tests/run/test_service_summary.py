"""How the diagnosis of a Service is printed: what is held against what is expected, then the one cause or none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from splithorizon.diagnosis import endpoints, prevailing, root_cause
from splithorizon.diagnosis.access import Target
from splithorizon.diagnosis.reading.model import CLIENT, Host, Reading, Unread
from splithorizon.run.outcome import ExitStatus
from splithorizon.run.service_diagnosis import Found
from splithorizon.run.service_summary import as_json, conclusion, lines
from tests.support.made_reading import (
    FAR_LOST,
    GATEWAYS,
    also,
    change,
    edits,
    holds,
    logs,
    near,
    pod,
    proxies,
    sound,
)
from tests.support.made_reading import adds as adds_to
from tests.support.mesh_info import mesh_info

TARGET = Target("sample", "helloworld")
WRONG = edits("remote", "Service", "helloworld", lambda one: one["spec"].update(selector={"app": "hello"}))


def found(reading: Reading) -> Found:
    return Found(
        mesh_info(Path("/nowhere")), reading, endpoints.views(reading, TARGET), root_cause.of_reading(reading),
        tuple(prevailing.failing(reading)), tuple(prevailing.exceptions(reading)),
    )  # fmt: skip


def said(reading: Reading) -> str:
    return "\n".join(lines(found(reading)))


def test_a_sound_mesh_shows_each_endpoint_with_its_weights() -> None:
    text = said(sound())
    assert text.startswith("Service sample/helloworld, in the mesh helloworld.sample.svc.cluster.local")
    assert "primary (context lab-primary, network primary-network)" in text
    assert "  as sample/sleep-1 holds it: a pod with a sidecar in namespace sample" in text
    assert "    gateway 10.89.0.2:15443  remote   expected weight 1  held with weight 1" in text
    assert "\nnothing wrong was found\n" in text
    assert found(sound()).exit_status == ExitStatus.CONFORMANT


def test_a_cause_comes_with_evidence_witness_and_a_command_of_the_mesh() -> None:
    text = said(also(WRONG, FAR_LOST)(sound()))
    assert "    gateway 10.89.0.2:15443  remote   expected weight 1  MISSING" in text
    assert "[selector-misses-pods]" in text
    assert "  evidence: Service remote/sample/helloworld: spec.selector app=hello selects 0 of 1 pods" in text
    assert "  witness:  the sidecar of primary's sleep-1 holds no endpoint of remote" in text
    assert "  fix:      let the selector of Service helloworld in remote fit its pods" in text
    assert found(also(WRONG, FAR_LOST)(sound())).exit_status == ExitStatus.NOT_CONFORMANT


def test_without_a_known_cause_it_says_what_is_wrong_all_the_same() -> None:
    assert conclusion(found(FAR_LOST(sound()))) == "no known cause fits, and endpoints are not as expected"
    refused = logs("primary", code=503, flags="UF", cluster="outbound|5000||helloworld.sample.svc.cluster.local",
                   upstream=GATEWAYS["remote"])  # fmt: skip
    failing = found(refused(sound()))
    assert conclusion(failing) == f"no known cause fits, and requests fail: {failing.failing[0]}"
    assert failing.exit_status == ExitStatus.NOT_CONFORMANT
    assert "failing: 20 requests" in "\n".join(lines(failing))


def test_what_is_not_expected_and_how_an_endpoint_is_held() -> None:
    gateway = Host(GATEWAYS["remote"], priority=1, locality="eu/b", health=("failed_outlier_check",))
    text = said(holds("primary", near("primary"), gateway, near("remote"))(sound()))
    assert "held with weight 1, priority 1, locality eu/b, failed_outlier_check" in text
    assert "not expected       held with weight 1, a pod of another network: it cannot be reached" in text
    second = pod("helloworld-2", "sample", "10.20.0.9", {"app": "helloworld"})
    assert "the weights' shares are not as expected" in said(adds_to("remote", second)(sound()))
    assert "this Envoy does not know the port" in said(proxies("primary", CLIENT, endpoints={})(sound()))


def test_what_was_not_seen_is_said() -> None:
    blind = change("primary", lambda one: replace(one, proxies=()))(sound())
    assert "what its clients hold cannot be seen" in said(blind)
    assert conclusion(found(blind)) == "nothing wrong was found; what clients of primary hold was not seen"
    nobody = change("remote", lambda one: replace(one, proxies=()))(blind)
    assert conclusion(found(nobody)).startswith("no known cause fits: in no cluster an Envoy could be read")
    assert found(nobody).exit_status == ExitStatus.INCONCLUSIVE
    unread = change("remote", lambda one: replace(one, objects={}))(nobody)
    assert found(unread).unjudged == "the Services and pods of remote could not be read"
    forbidden = replace(sound(), unread=tuple(Unread("remote", f"kind {number}", "HTTP 403") for number in range(9)))
    assert "not read:\n  kind 0 of remote: HTTP 403\n" in said(forbidden)
    assert "  and 1 more; --json has all" in said(forbidden)


def test_the_same_as_json() -> None:
    content = as_json(found(also(WRONG, FAR_LOST)(sound())))
    assert json.loads(json.dumps(content)) == content
    assert content["conclusion"] == content["root_causes"][0]["text"]
    assert content["exit_status"] == 1
    primary, remote = content["clusters"]
    assert primary["client"] == "sample/sleep-1"
    assert primary["ports"][0]["missing"] == [
        {"address": GATEWAYS["remote"], "weight": 1, "cluster": "remote", "kind": "gateway"}
    ]
    assert remote["ports"][0]["held"][0]["weight"] == 1
    assert remote["ports"][0]["missing"] == []
