"""The conformance report counts behaviours by profile, and says which failed and which were left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from splithorizon.run import conformance
from splithorizon.run.report import NotClaimed, Unclaimed
from splithorizon.run.verdict import Verdict
from tests.run.page.test_page import GREEN, HELD, RECOVERED, REFUTED


def test_a_sound_run(tmp_path: Path) -> None:
    found = yaml.safe_load(conformance.write(GREEN, tmp_path).read_text())
    assert (found["apiVersion"], found["kind"]) == ("splithorizon/v1alpha1", "ConformanceReport")
    assert found["implementation"]["version"] == "1.29.1"
    assert found["verdict"] == "conformant"
    assert [(one["name"], one["controlPlane"]) for one in found["clusters"]] == [
        ("primary", "primary"),
        ("remote", "primary"),
    ]
    assert found["profiles"][0] == {
        "name": "core",
        "result": "success",
        "statistics": {"Passed": 1, "Failed": 0, "Inconclusive": 0, "Skipped": 0},
        "summary": "1 of 1 checks conformant",
    }


def test_a_behaviour_that_fails_on_one_route_has_failed() -> None:
    other = replace(REFUTED, route="remote→primary")
    broken = replace(GREEN, verdict=Verdict.NOT_CONFORMANT, behaviours=(HELD, other, RECOVERED))
    (core, *_) = conformance.content(broken)["profiles"]
    assert (core["result"], core["failedTests"]) == ("failure", [HELD.behaviour])
    assert core["statistics"] == {"Passed": 0, "Failed": 1, "Inconclusive": 0, "Skipped": 0}
    assert core["summary"] == "1 of 2 checks conformant"


def test_what_could_not_be_judged_and_what_was_left_out_is_no_success() -> None:
    unjudged = replace(REFUTED, verdict=Verdict.INCONCLUSIVE)
    broke = replace(GREEN, verdict=Verdict.INCONCLUSIVE, inconclusive_reason="x", behaviours=(unjudged,))
    (core,) = conformance.content(broke)["profiles"]
    assert (core["result"], core["inconclusiveTests"]) == ("inconclusive", [HELD.behaviour])
    skipped = (
        NotClaimed("test_other", "exempt: our zones", Unclaimed.EXEMPT, "core"),
        NotClaimed("test_more", "of profile core", Unclaimed.NOT_ASKED_FOR, "core"),
    )
    (core, *_) = conformance.content(replace(GREEN, verdict=Verdict.PARTIAL, not_claimed=skipped))["profiles"]
    assert core["result"] == "partial"
    assert core["skippedTests"] == [{"name": "test_other", "reason": "exempt: our zones"}]


def test_texts_are_quoted_where_yaml_would_take_them_for_something_else() -> None:
    odd = replace(GREEN, versions=replace(GREEN.versions, kubernetes="1.30: {a: [b]}\n- c"))
    assert yaml.safe_load(conformance.text(odd))["kubernetesVersion"] == "1.30: {a: [b]}\n- c"
