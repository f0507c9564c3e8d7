"""A VirtualService's delegates: their routes are its own, and what comes of one that does not exist is said."""

from __future__ import annotations

from typing import Any

import pytest

from splithorizon.diagnosis import root_causes
from splithorizon.diagnosis.root_cause import of_reading
from tests.support.made_reading import HOST, Change, adds, also, logs, made, sound

DELEGATES = {"match": [{"uri": {"prefix": "/hello"}}], "delegate": {"name": "routes", "namespace": "team"}}
ANSWERS_404 = {"directResponse": {"status": 404}}
TO_HOST = {"route": [{"destination": {"host": HOST}}]}
GOT_404 = logs("primary", code=404, details="direct_response", authority=HOST)


def root(*routes: dict[str, Any]) -> Change:
    return adds("primary", made("VirtualService", "root", "sample", spec={"hosts": [HOST], "http": list(routes)}))


def delegate(*routes: dict[str, Any], namespace: str = "team") -> Change:
    return adds("primary", made("VirtualService", "routes", namespace, spec={"http": list(routes)}))


def cited(broken: Change) -> list[tuple[str, str, str]]:
    (found,) = of_reading(broken(sound())).root_causes
    return [(fact.object, fact.field, fact.value) for fact in found.finding.evidence]


def test_a_delegate_that_is_absent_is_cited_where_the_next_route_answers_in_its_place() -> None:
    assert cited(also(root(DELEGATES, ANSWERS_404), GOT_404)) == [
        ("VirtualService primary/sample/root", "spec.http[0].delegate", "team/routes, which does not exist"),
        ("VirtualService primary/sample/root", "spec.http[1].directResponse", "status=404"),
    ]


def test_a_delegate_of_the_same_name_elsewhere_does_not_count() -> None:
    broken = also(root(DELEGATES, ANSWERS_404), delegate(TO_HOST, namespace="sample"), GOT_404)
    assert cited(broken)[0][1] == "spec.http[0].delegate"


def test_what_a_delegate_does_is_cited_at_the_delegate() -> None:
    aborts = {"fault": {"abort": {"httpStatus": 503}}, **TO_HOST}
    broken = also(root(DELEGATES), delegate(aborts), logs("primary", code=503, flags="FI", authority=HOST))
    assert cited(broken) == [("VirtualService primary/team/routes", "spec.http[0].fault.abort", "httpStatus=503")]


def test_requests_that_no_route_is_left_for_are_those_of_the_absent_delegate() -> None:
    other = {"match": [{"uri": {"prefix": "/other"}}], **TO_HOST}
    broken = also(root(DELEGATES, other), logs("primary", code=404, flags="NR", authority=HOST))
    fields = [field for _, field, _ in cited(broken)]
    assert fields == ["spec.http[0].delegate", "spec.http[].match"]


@pytest.mark.parametrize("witness", [True, False])
def test_a_delegate_that_exists_is_no_finding(witness: bool) -> None:
    changes = [root(DELEGATES, TO_HOST), delegate(TO_HOST)]
    found = of_reading(also(*changes, *([GOT_404] if witness else []))(sound()))
    assert root_causes.RULE_ANSWERS_ITSELF.id not in {one.id for one in found.root_causes}
    assert root_causes.RULE_MATCHES_NOTHING.id not in {one.cause.id for one in found.notes}
