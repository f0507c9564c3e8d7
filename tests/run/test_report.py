"""The report is complete, strict and free of secrets, and ``latest`` always leads to a report."""

from __future__ import annotations

import base64
import itertools
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from docs import schema as schema_file
from splithorizon.run import redaction, report
from splithorizon.run.progress import StepTime
from splithorizon.run.report import (
    BehaviourResult,
    Cluster,
    Condition,
    Diagnosis,
    Evidence,
    Fact,
    InvalidReport,
    NotClaimed,
    RunReport,
    Totals,
    Unclaimed,
)
from splithorizon.run.verdict import Verdict
from splithorizon.undo.not_restored import NotRestored
from tests.support.run_reports import VERSIONS

EVIDENCE = Evidence(
    claim="every reply was joined to its own log line",
    numbers={"requests": 1000, "joined": 1000, "share": 0.5, "mode": "labels", "all": True, "none": None},
    expected_interval=(423, 577),
    sample_lines=('"GET /hello HTTP/1.1" 200 - "172.18.0.3:15443"',),
    addresses=("172.18.0.3:15443",),
)
RESULT = BehaviourResult(
    area="routing",
    behaviour="test_each_version_takes_its_own_path",
    claim="Each version takes its own path.",
    route="primary→remote",
    nodeid="suites/routing/test_each_version_takes_its_own_path.py::test_it[primary\\u2192remote]",
    verdict=Verdict.CONFORMANT,
    seconds=4.6,
    key_number="1,000 of 1,000 joined",
    evidence=(EVIDENCE,),
)
REPORT = RunReport(
    run_id="20261123-0231-a1b2",
    started="2026-11-23T02:31:00.000Z",
    finished="2026-11-23T02:32:52.500Z",
    command=("pytest", "suites/"),
    options={"provider": "auto", "requests": 1000, "hub": None, "keep": False},
    versions=VERSIONS,
    namespace="sample",
    clusters=(
        Cluster(
            name="primary",
            id="primary",
            network="primary-network",
            context="splithorizon-primary",
            node_address="172.18.0.2",
            pod_subnet="10.10.0.0/16",
            service_subnet="10.110.0.0/16",
            gateway_addresses=("172.18.0.2:15443",),
        ),
        Cluster(
            name="remote",
            id="remote",
            network="remote-network",
            runs_istiod=False,
            control_plane="primary",
        ),
    ),
    steps=(
        StepTime("kind cluster", "primary", 1.5, 46.0, "done"),
        StepTime("podman", None, 0.0, 1.5, "done"),
    ),
    behaviours=(RESULT,),
    totals=Totals(requests=1000, joined=1000, unjoined=0),
    verdict=Verdict.CONFORMANT,
    diagnosis=Diagnosis(
        cause_id="remote-secret-missing",
        text="istiod has no remote secret of the remote cluster",
        evidence=(Fact("primary Secret istio-system", "items", "0"),),
        fix="istioctl create-remote-secret",
        consequences=("test_both_versions_answer",),
    ),
    conditions=(Condition("requests", "1000", "an interval of 423 to 577"),),
    not_restored=(NotRestored("primary Secret istio-system/a", "the API server is away", "kubectl apply -f a.yaml"),),
    not_claimed=(NotClaimed("test_failover", "needs --allow-disruption", Unclaimed.NOT_ALLOWED, "disruptive"),),
    exit_status=0,
)
FAILED = replace(
    RESULT,
    verdict=Verdict.NOT_CONFORMANT,
    failure="30 of 30 requests left towards 10.20.0.7:5000, expected 172.18.0.3:15443",
    cause_ids=("network-label-missing", "pods-dialled-past-the-gateway"),
    likely_cause="istio-system in the remote lacks topology.istio.io/network",
    next_command="istioctl proxy-config endpoint sleep.sample",
)


def _plain_failure() -> dict[str, Any]:
    plain: dict[str, Any] = TypeAdapter(BehaviourResult).dump_python(FAILED, mode="json")
    return plain


def test_a_report_is_read_back_as_it_was(tmp_path: Path) -> None:
    path = report.write(REPORT, tmp_path / "run")
    assert path == tmp_path / "run" / "report.json"
    assert report.load(path) == REPORT
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
    path = report.write(REPORT, tmp_path)
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
        report.load(path)
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


def test_a_report_that_redaction_makes_invalid_is_not_written_and_the_former_one_stays(tmp_path: Path) -> None:
    path = report.write(REPORT, tmp_path)
    with pytest.raises(InvalidReport, match=r"\$\.run_id"):
        report.write(REPORT, tmp_path, lambda text: text.replace("20261123", "[...]"))
    assert report.load(path).run_id == REPORT.run_id
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"], "no temporary file stays"


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
        assert report.load(report.write(content, tmp_path)) == content


def test_the_numbers_of_a_refuted_check_are_read_back(tmp_path: Path) -> None:
    counted = replace(FAILED, numbers={"requests": 1000, "joined": 998, "unjoined": 2})
    content = replace(
        REPORT, verdict=Verdict.NOT_CONFORMANT, behaviours=(counted,), totals=Totals(1000, 998, 2), exit_status=1
    )
    assert report.load(report.write(content, tmp_path)) == content


def test_changes_not_restored_are_read_back_and_older_reports_have_none(tmp_path: Path) -> None:
    lost = (NotRestored("Secret a/b of the primary", "it is away", "pytest --sweep --contexts a,b", pending=True),)
    path = report.write(replace(REPORT, not_restored=lost), tmp_path)
    assert report.load(path).not_restored == lost
    content = json.loads(path.read_text())
    assert content["not_restored"] == [
        {"object": lost[0].object, "reason": "it is away", "command": lost[0].command, "pending": True}
    ]
    del content["not_restored"]
    path.write_text(json.dumps(content))
    assert report.load(path).not_restored == ()


def test_times_are_rounded_and_probabilities_are_not(tmp_path: Path) -> None:
    precise = replace(RESULT, seconds=4.600049999, evidence=(replace(EVIDENCE, numbers={"false_alarm": 1e-9}),))
    step = StepTime("istiod", "primary", 1.23456789, 2.3456789, "done")
    path = report.write(replace(REPORT, behaviours=(precise,), steps=(step,)), tmp_path)
    loaded = report.load(path)
    assert loaded.behaviours[0].seconds == 4.6
    assert loaded.behaviours[0].evidence[0].numbers["false_alarm"] == 1e-9
    assert loaded.steps == (StepTime("istiod", "primary", 1.235, 2.346, "done"),)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_cannot_be_json_cannot_be_reported(value: float) -> None:
    with pytest.raises(ValueError, match="finite number"):
        replace(RESULT, seconds=value)
    with pytest.raises(ValueError, match="finite number"):
        replace(RESULT, numbers={"share": value})


def test_a_damaged_file_is_not_loaded(tmp_path: Path) -> None:
    path = report.write(REPORT, tmp_path)
    whole = path.read_text(encoding="utf-8")
    for damaged, message in (
        (whole[:-10], "not JSON"),
        (whole.replace('"conformant"', '"fine"'), "verdict"),
        ("[]", "breaks report.schema.json"),
    ):
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(InvalidReport, match=message):
            report.load(path)


def _key() -> tuple[bytes, str]:
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    token = ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode()
        for part in (b'{"alg":"RS256"}', os.urandom(60), os.urandom(90))
    )
    return pem, token


def test_no_key_or_token_gets_into_the_file(tmp_path: Path) -> None:
    pem, token = _key()
    leaky = replace(
        REPORT,
        command=("pytest", "suites/", f"--token={token}"),
        options={**REPORT.options, "token": "0123456789abcdef-opaque"},
        verdict=Verdict.NOT_CONFORMANT,
        exit_status=1,
        behaviours=(
            replace(
                FAILED,
                failure=f"cacerts holds\n{pem.decode()}",
                likely_cause=f"client-key-data: {base64.b64encode(pem).decode()}",
                evidence=(replace(EVIDENCE, sample_lines=(f"authorization: Bearer {token}",), numbers={token: 1}),),
            ),
        ),
    )
    # The scan must be able to find what the writer is to keep out.
    planted = tmp_path / "planted" / "report.json"
    planted.parent.mkdir()
    planted.write_text(json.dumps({"failure": leaky.behaviours[0].failure, "command": leaky.command}))
    secrets = [pem, token.encode(), b"0123456789abcdef-opaque"]
    assert redaction.leaks(planted.parent, secrets) == [planted]

    path = report.write(leaky, tmp_path / "run")
    assert redaction.leaks(path.parent, secrets) == []
    assert path.read_text().count(redaction.REDACTED) == 6
    assert report.load(path).behaviours[0].failure.startswith("cacerts holds\n"), "only the secret is blanked"


def test_the_runs_own_redactor_can_be_given(tmp_path: Path) -> None:
    odd = b"a secret in no known form: 4711"
    content = replace(REPORT, command=("pytest", odd.decode()))
    path = report.write(content, tmp_path, redaction.Redactor([odd]).redact)
    assert redaction.leaks(tmp_path, [odd]) == []
    assert report.load(path).command == ("pytest", redaction.REDACTED)


def test_latest_is_relative_and_follows_the_last_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        report.write(replace(REPORT, run_id=name), tmp_path / name)
        latest = report.point_latest(tmp_path, tmp_path / name)
        assert latest.readlink() == Path(name)
        assert report.load(latest / "report.json").run_id == name
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert report.load(moved / "latest" / "report.json").run_id == "two"


def test_latest_is_replaced_without_a_moment_in_which_it_is_missing(tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("one", "two")]
    for run in runs:
        report.write(replace(REPORT, run_id=run.name), run)
    report.point_latest(tmp_path, runs[0])
    seen: set[str] = set()
    failures: list[OSError] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add(json.loads((tmp_path / "latest" / "report.json").read_text(encoding="utf-8"))["run_id"])
            except OSError as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        # At least so often, and until the reader has seen both.
        for turn in itertools.count():
            report.point_latest(tmp_path, runs[turn % 2])
            if turn >= 2000 and seen == {"one", "two"}:
                break
    finally:
        stop.set()
        reader.join()
    assert not failures
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["latest", "one", "two"]


def test_latest_may_dangle_but_must_be_a_link(tmp_path: Path) -> None:
    run = tmp_path / "run"
    report.write(REPORT, run)
    (tmp_path / "latest").symlink_to("removed-by-hand")
    report.point_latest(tmp_path, run)
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "precious").touch()
    with pytest.raises(FileExistsError, match="move it away"):
        report.point_latest(tmp_path, run)
    assert (tmp_path / "latest" / "precious").exists()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["latest", "run"]


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
