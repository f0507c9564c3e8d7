"""Addresses that lead elsewhere than they seem to, and clients whose requests no sidecar sees."""

from __future__ import annotations

import pytest

from splithorizon.diagnosis import causes, root_causes
from splithorizon.diagnosis.finding import Case, Symptom
from splithorizon.diagnosis.reading.model import CLIENT, Host, Object
from splithorizon.diagnosis.root_cause import diagnose
from tests.support.made_reading import GATEWAYS, Change, adds, also, edits, holds, made, near, proxies, sound

ADDRESS = "10.96.0.7"
OLD = "192.0.2.50"


def entry(address: str, port: int = 5000) -> Change:
    spec = {"hosts": ["legacy.example.com"], "addresses": [address], "ports": [{"number": port, "protocol": "TCP"}]}
    return also(
        edits("primary", "Service", "helloworld", lambda one: one["spec"].update(clusterIP=ADDRESS)),
        adds("primary", made("ServiceEntry", "legacy", "sample", spec=spec)),
    )


LISTENS = proxies("primary", CLIENT, listeners=({"name": f"{ADDRESS}_5000", "chains": []},))


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (also(entry(ADDRESS), LISTENS), [root_causes.SERVICE_ADDRESS_TAKEN.id]),
        (entry(ADDRESS), []),
        (also(entry("10.96.0.8"), LISTENS), []),
        (also(entry(ADDRESS, 5001), LISTENS), []),
    ],
    ids=["the address and a listener for it", "no listener", "another address", "another port"],
)
def test_an_entry_with_the_services_address_takes_its_requests(broken: Change, found: list[str]) -> None:
    told = diagnose(Case(broken(sound())))
    assert [one.id for one in told.root_causes] == found
    if found:
        facts = {fact.object: fact.value for fact in told.root_causes[0].finding.evidence}
        assert facts["ServiceEntry primary/sample/legacy"] == f"[{ADDRESS}]"
        assert facts["Service primary/sample/helloworld"] == f"{ADDRESS}, port 5000"


def as_user(settings: Object, container: Object) -> Change:
    def edit(one: Object) -> None:
        one["spec"]["securityContext"] = settings
        one["spec"]["containers"] = [{"name": "sleep", "securityContext": container}, {"name": "istio-proxy"}]

    return edits("remote", "Pod", "sleep-1", edit)


@pytest.mark.parametrize(
    ("settings", "container", "field"),
    [
        ({"runAsUser": 1337}, {}, "spec.securityContext.runAsUser"),
        ({}, {"runAsUser": 1337}, "spec.containers sleep.securityContext.runAsUser"),
        ({"runAsGroup": 1337}, {"runAsUser": 100}, "spec.securityContext.runAsGroup"),
        ({"runAsUser": 1337}, {"runAsUser": 100}, ""),
        ({"fsGroup": 1337}, {}, ""),
    ],
    ids=["the pod's user", "the container's", "the pod's group", "another in the container", "the group of files"],
)
def test_a_client_that_runs_as_the_sidecar_goes_past_it(settings: Object, container: Object, field: str) -> None:
    symptom = Symptom("test_both_versions_answer", "remote→primary", "silent", (causes.ACCESS_LOG_OFF.id,))
    told = diagnose(Case(as_user(settings, container)(sound()), (symptom,)))
    cited = [(fact.object, fact.field) for one in told.root_causes for fact in one.finding.evidence]
    assert cited == ([("Pod remote/sample/sleep-1", field)] if field else [])
    # Without a check that misses the log it is a note.
    assert diagnose(Case(as_user(settings, container)(sound()))).root_causes == ()


def test_an_address_of_the_gateway_that_somebody_gave_its_service_is_cited_there() -> None:
    given = edits("remote", "Service", "istio-eastwestgateway", lambda one: one["spec"].update(externalIPs=[OLD]))
    dead = holds(
        "primary",
        near("primary"),
        Host(GATEWAYS["remote"], successes=500, requests=500, connections=3),
        Host(f"{OLD}:15443", connect_failures=9, connections=9),
    )
    (one,) = diagnose(Case(also(given, dead)(sound()))).root_causes
    assert one.id == causes.GATEWAY_ADDRESS_REFUSES.id
    cited = {fact.object: (fact.field, fact.value) for fact in one.finding.evidence}
    assert cited["Service remote/istio-system/istio-eastwestgateway"][0] == "spec.externalIPs"
