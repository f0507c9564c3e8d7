"""The report is complete and strict, and its schema is the model's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from docs import schema as schema_file
from splithorizon.run import report, report_file
from splithorizon.run.report import (
    BehaviourResult,
    Totals,
)
from splithorizon.run.report_file import InvalidReport
from splithorizon.run.verdict import Verdict
from splithorizon.undo.not_restored import NotRestored
from tests.support.full_report import FAILED, REPORT, RESULT


def _plain_failure() -> dict[str, Any]:
    plain: dict[str, Any] = TypeAdapter(BehaviourResult).dump_python(FAILED, mode="json")
    return plain


def test_a_report_is_read_back_as_it_was(tmp_path: Path) -> None:
    path = report_file.write(REPORT, tmp_path / "run")
    assert path == tmp_path / "run" / "report.json"
    assert report_file.load(path) == REPORT
    numbers = json.loads(path.read_text())["behaviours"][0]["evidence"][0]["numbers"]
    assert [type(number) for number in numbers.values()] == [int, int, float, str, bool, type(None)]
    assert "primary→remote" in path.read_text(encoding="utf-8"), "written for people too, so not escaped"


def _at(content: Any, path: str) -> tuple[Any, str | int]:
    *above, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in above:
        content = content[part]
    return content, last


# Which fields are set, or removed where the value is GONE; and the place that the message names.
GONE = object()
BREAKS: Mapping[str, tuple[dict[str, object], str]] = {
    "an unknown verdict": ({"behaviours.0.verdict": "passed"}, "$.behaviours[0].verdict"),
    "an unknown field": ({"versions.helm": "3"}, "$.versions.helm"),
    "an unknown field of the run": ({"seed": 7}, "$.seed"),
    "a missing field": ({"versions.splithorizon": GONE}, "$.versions.splithorizon"),
    "evidence with other fields": ({"behaviours.0.evidence.0": {"key": "x"}}, "$.behaviours[0].evidence[0]"),
    "half an interval": ({"behaviours.0.evidence.0.expected_interval": [423]}, "expected_interval"),
    "a time without its zone": ({"started": "2026-11-23T02:31:00.000"}, "$.started"),
    "a run id that leaves its folder": ({"run_id": "../elsewhere"}, "$.run_id"),
    "fewer than no requests": ({"totals.requests": -1}, "$.totals.requests"),
    "a number in quotes": ({"totals.requests": "1000"}, "$.totals.requests"),
    "half a request": ({"totals.requests": 0.5}, "$.totals.requests"),
    "another version of the schema": ({"schema_version": 3}, "$.schema_version"),
    "an unknown exit status": ({"exit_status": 255}, "$.exit_status"),
    "an unknown outcome of a step": ({"steps.0.outcome": "skipped"}, "$.steps[0].outcome"),
    "an unknown field of a step": ({"steps.0.role": "primary"}, "$.steps[0].role"),
    "no command line": ({"command": []}, "$.command"),
    "conformant without a check": ({"behaviours": []}, "behaviours: a conformant run"),
    "conformant with a failure": ({"behaviours.1": _plain_failure()}, "behaviours: a conformant run"),
    "conformant with an unjoined reply": ({"totals.unjoined": 1}, "totals.unjoined"),
    "not conformant by no check": ({"verdict": "not conformant", "exit_status": 1}, "behaviours: no check"),
    "inconclusive without a reason": ({"verdict": "inconclusive"}, "inconclusive_reason"),
    "a reason without being inconclusive": ({"inconclusive_reason": "node gone"}, "inconclusive_reason"),
    "a count that is none": ({"behaviours.0.numbers": {"joined": [1]}}, "$.behaviours[0].numbers.joined"),
    "not conformant without a cause": (
        {"verdict": "not conformant", "behaviours.0": {**_plain_failure(), "likely_cause": ""}},
        "likely_cause",
    ),
    "not conformant without a command": (
        {"verdict": "not conformant", "behaviours.0": {**_plain_failure(), "next_command": ""}},
        "next_command",
    ),
    "not conformant without a failure": (
        {"verdict": "not conformant", "behaviours.0": {**_plain_failure(), "failure": ""}},
        "failure",
    ),
    "a cluster with two control planes": ({"clusters.0.control_plane": "remote"}, "control_plane"),
    "a cluster without a control plane": ({"clusters.1.control_plane": None}, "control_plane"),
    "an unknown kind of reason": ({"not_claimed.0.kind": "tired"}, "$.not_claimed[0].kind"),
    "a diagnosis without its cause": ({"diagnosis.cause_id": ""}, "$.diagnosis.cause_id"),
    "something not restored without a reason": ({"not_restored.0.reason": ""}, "$.not_restored[0].reason"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_model_and_schema_refuse_the_same(tmp_path: Path, broken: str) -> None:
    changes, message = BREAKS[broken]
    path = report_file.write(REPORT, tmp_path)
    content = json.loads(path.read_text())
    validator = Draft202012Validator(report.schema())
    assert list(validator.iter_errors(content)) == []
    for place, value in changes.items():
        parent, key = _at(content, place)
        if value is GONE:
            del parent[key]
        elif isinstance(parent, list) and key == len(parent):
            parent.append(value)
        else:
            parent[key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidReport) as refused:
        report_file.load(path)
    assert message in str(refused.value)
    assert list(validator.iter_errors(content)) != []


def test_a_control_plane_is_a_cluster_of_the_report() -> None:
    """A JSON schema cannot express this."""
    lost = replace(REPORT.clusters[1], control_plane="elsewhere")
    with pytest.raises(ValueError, match="there is no cluster 'elsewhere' that manages 'remote'"):
        replace(REPORT, clusters=(REPORT.clusters[0], lost))


def test_a_report_that_breaks_the_schema_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="a conformant run has checked something"):
        replace(REPORT, behaviours=())


def test_other_verdicts_are_taken(tmp_path: Path) -> None:
    failed = replace(REPORT, verdict=Verdict.NOT_CONFORMANT, behaviours=(RESULT, FAILED), exit_status=1)
    broken = replace(
        REPORT,
        verdict=Verdict.INCONCLUSIVE,
        inconclusive_reason="the node is gone",
        behaviours=(),
        clusters=(),
        exit_status=10,
    )
    partial = replace(
        REPORT,
        verdict=Verdict.PARTIAL,
        behaviours=(RESULT, replace(RESULT, verdict=Verdict.PARTIAL)),
    )
    for content in (failed, broken, partial):
        assert report_file.load(report_file.write(content, tmp_path)) == content


def test_the_numbers_of_a_refuted_check_are_read_back(tmp_path: Path) -> None:
    counted = replace(FAILED, numbers={"requests": 1000, "joined": 998, "unjoined": 2})
    content = replace(
        REPORT, verdict=Verdict.NOT_CONFORMANT, behaviours=(counted,), totals=Totals(1000, 998, 2), exit_status=1
    )
    assert report_file.load(report_file.write(content, tmp_path)) == content


def test_changes_not_restored_are_read_back_and_older_reports_have_none(tmp_path: Path) -> None:
    lost = (NotRestored("Secret a/b of the primary", "it is away", "pytest --sweep --contexts a,b", pending=True),)
    path = report_file.write(replace(REPORT, not_restored=lost), tmp_path)
    assert report_file.load(path).not_restored == lost
    content = json.loads(path.read_text())
    assert content["not_restored"] == [
        {"object": lost[0].object, "reason": "it is away", "command": lost[0].command, "pending": True}
    ]
    del content["not_restored"]
    path.write_text(json.dumps(content))
    assert report_file.load(path).not_restored == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_cannot_be_json_cannot_be_reported(value: float) -> None:
    with pytest.raises(ValueError, match="finite number"):
        replace(RESULT, seconds=value)
    with pytest.raises(ValueError, match="finite number"):
        replace(RESULT, numbers={"share": value})


def test_moments_are_written_in_utc() -> None:
    summer = datetime(2026, 7, 1, 14, 0, 0, 5000, tzinfo=timezone(timedelta(hours=2)))
    assert report.utc(summer) == "2026-07-01T12:00:00.005Z"
    before = datetime.now(UTC)
    moment = datetime.fromisoformat(report.utc())
    assert before - timedelta(milliseconds=1) <= moment <= datetime.now(UTC), "by default the current time"


def _objects(schema: Any, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for name, entry in schema.items():
            yield from _objects(entry, f"{path}.{name}")
    elif isinstance(schema, list):
        for number, entry in enumerate(schema):
            yield from _objects(entry, f"{path}[{number}]")


def test_the_schema_is_valid_strict_and_described() -> None:
    schema = report.schema()
    Draft202012Validator.check_schema(schema)
    objects = dict(_objects(schema))
    assert len(objects) >= 10
    for path, definition in objects.items():
        # A map of free names says what its values are; all else lists its names and takes no other.
        extra = definition["additionalProperties"]
        assert extra is False or (extra.keys() & {"type", "anyOf"} and "properties" not in definition), path
        for name, entry in definition.get("properties", {}).items():
            assert entry.get("description"), f"{path}.{name} is not described"


def test_the_schema_beside_the_reports_is_that_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert schema_file.main(["--check"]) == 0, "run python -m docs.schema"
    stale = tmp_path / "report.schema.json"
    stale.write_text(report.SCHEMA.read_text().replace("The verdict of the test.", "What did the test say?"))
    monkeypatch.setattr(report, "SCHEMA", stale)
    assert [schema_file.main(arguments) for arguments in (["--check"], [], ["--check"])] == [1, 0, 0]
    assert "What did the test say?" not in stale.read_text()
