"""The report is whole, strict and free of secrets, and ``latest`` always leads to one."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jsonschema import Draft202012Validator

from splithorizon import redaction, report
from splithorizon.not_restored import NotRestored
from splithorizon.progress import StepTime
from splithorizon.report import BehaviourResult, InvalidReport, NotClaimed, RunReport, Totals
from splithorizon.verdict import Verdict

EVIDENCE = {
    "claim": "every reply was joined to its own log line",
    "numbers": {"requests": 1000, "joined": 1000, "share": 0.5},
    "expected_interval": [423, 577],
    "sample_lines": ['"GET /hello HTTP/1.1" 200 - "172.18.0.3:15443"'],
    "addresses": ["172.18.0.3:15443"],
}
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
    seed=7,
    options={"provider": "auto", "requests": 1000, "hub": None, "keep": False},
    versions={
        "splithorizon": "0.1.0",
        "python": "3.11.2",
        "provider": "podman",
        "engine": "4.3.1",
        "kubernetes": "1.34.4",
        "istio": {"primary": "1.29.1", "remote": "1.29.1"},
        "images": "built",
    },
    topology={
        "clusters": [
            {
                "role": "primary",
                "name": "splithorizon-primary",
                "network": "primary-network",
                "node_address": "172.18.0.2",
                "pod_subnet": "10.10.0.0/16",
                "service_subnet": "10.110.0.0/16",
                "gateway_addresses": ["172.18.0.2:15443"],
            }
        ]
    },
    steps=(
        StepTime("kind cluster", "primary", 1.5, 46.0, "done"),
        StepTime("podman", None, 0.0, 1.5, "done"),
    ),
    behaviours=(RESULT,),
    totals=Totals(requests=1000, joined=1000, unjoined=0),
    verdict=Verdict.CONFORMANT,
    not_claimed=(NotClaimed("test_failover", "needs --allow-disruption"),),
    exit_status=0,
)
FAILED = replace(
    RESULT,
    verdict=Verdict.NOT_CONFORMANT,
    failure="30 of 30 requests left towards 10.20.0.7:5000, expected 172.18.0.3:15443",
    likely_cause="istio-system in the remote lacks topology.istio.io/network",
    next_command="istioctl proxy-config endpoint sleep.sample",
)


def test_a_report_comes_back_as_it_was(tmp_path: Path) -> None:
    path = report.write(REPORT, tmp_path / "run")
    assert path == tmp_path / "run" / "report.json"
    assert report.load(path) == replace(REPORT, behaviours=(replace(RESULT, evidence=(EVIDENCE,)),))
    assert "primary→remote" in path.read_text(encoding="utf-8"), "written for people too, so not escaped"


BREAKS: Mapping[str, tuple[RunReport, str]] = {
    "a verdict that there is not": (
        replace(REPORT, behaviours=(replace(RESULT, verdict=cast(Verdict, "passed")),)),
        "$.behaviours[0].verdict",
    ),
    "an unknown field": (
        replace(REPORT, versions={**REPORT.versions, "helm": "3"}),
        "'helm' was unexpected",
    ),
    "a missing field": (
        replace(REPORT, versions={"python": "3.11.2"}),
        "'splithorizon' is a required property",
    ),
    "evidence of another shape": (
        replace(REPORT, behaviours=(replace(RESULT, evidence=({"claim": "x"},)),)),
        "evidence[0]",
    ),
    "half an interval": (
        replace(
            REPORT,
            behaviours=(replace(RESULT, evidence=({**EVIDENCE, "expected_interval": [423]},)),),
        ),
        "expected_interval",
    ),
    "a time without its zone": (replace(REPORT, started="2026-11-23T02:31:00.000"), "$.started"),
    "a run id that leaves its folder": (replace(REPORT, run_id="../elsewhere"), "$.run_id"),
    "fewer than no requests": (replace(REPORT, totals=Totals(requests=-1)), "$.totals.requests"),
    "another version of the form": (replace(REPORT, schema_version=2), "$.schema_version"),
    "an exit status of nobody": (replace(REPORT, exit_status=255), "$.exit_status"),
    "a third cluster role": (
        replace(REPORT, steps=(StepTime("x", "spare", 0.0, 1.0, "done"),)),
        "$.steps[0].role",
    ),
    "conformant without a check": (replace(REPORT, behaviours=()), "$.behaviours"),
    "conformant with a failure": (
        replace(REPORT, behaviours=(RESULT, FAILED)),
        "$.behaviours[1].verdict",
    ),
    "conformant with an unjoined reply": (
        replace(REPORT, totals=Totals(1000, 999, 1)),
        "$.totals.unjoined",
    ),
    "not conformant by no check": (
        replace(REPORT, verdict=Verdict.NOT_CONFORMANT, exit_status=1),
        "$.behaviours",
    ),
    "inconclusive without a reason": (
        replace(REPORT, verdict=Verdict.INCONCLUSIVE, exit_status=10),
        "$.inconclusive_reason",
    ),
    "a reason without being inconclusive": (
        replace(REPORT, inconclusive_reason="node gone"),
        "$.inconclusive_reason",
    ),
    "a count that is none": (
        replace(REPORT, behaviours=(replace(RESULT, numbers=cast(Mapping[str, float], {"joined": [1]})),)),
        "$.behaviours[0].numbers.joined",
    ),
    "an accusation without a cause": (
        replace(REPORT, verdict=Verdict.NOT_CONFORMANT, behaviours=(replace(FAILED, likely_cause=""),)),
        "$.behaviours[0].likely_cause",
    ),
    "a failure that says nothing": (
        replace(REPORT, verdict=Verdict.NOT_CONFORMANT, behaviours=(replace(FAILED, failure=""),)),
        "$.behaviours[0].failure",
    ),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_what_breaks_the_schema_is_refused_and_not_written(tmp_path: Path, broken: str) -> None:
    content, said = BREAKS[broken]
    with pytest.raises(InvalidReport) as refused:
        report.write(content, tmp_path / "run")
    assert said in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_a_refused_report_leaves_the_last_one(tmp_path: Path) -> None:
    path = report.write(REPORT, tmp_path)
    with pytest.raises(InvalidReport):
        report.write(replace(REPORT, run_id=""), tmp_path)
    assert report.load(path).run_id == REPORT.run_id
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"], "no temporary file stays"


def test_other_verdicts_are_taken(tmp_path: Path) -> None:
    failed = replace(REPORT, verdict=Verdict.NOT_CONFORMANT, behaviours=(RESULT, FAILED), exit_status=1)
    broken = replace(
        REPORT,
        verdict=Verdict.INCONCLUSIVE,
        inconclusive_reason="the node is gone",
        behaviours=(),
        topology={},
        exit_status=10,
    )
    partial = replace(
        REPORT,
        verdict=Verdict.PARTIAL,
        behaviours=(RESULT, replace(RESULT, verdict=Verdict.PARTIAL)),
    )
    for content in (failed, broken, partial):
        assert report.load(report.write(content, tmp_path)) == content


def test_what_a_refuted_check_had_counted_comes_back_and_may_be_missing(tmp_path: Path) -> None:
    counted = replace(FAILED, numbers={"requests": 1000, "joined": 998, "unjoined": 2})
    content = replace(
        REPORT, verdict=Verdict.NOT_CONFORMANT, behaviours=(counted,), totals=Totals(1000, 998, 2), exit_status=1
    )
    path = report.write(content, tmp_path)
    assert report.load(path) == content
    older = json.loads(path.read_text())
    del older["behaviours"][0]["numbers"]
    path.write_text(json.dumps(older))
    assert report.load(path).behaviours[0].numbers == {}


def test_what_was_not_restored_comes_back_and_older_reports_have_none(tmp_path: Path) -> None:
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
    numbers = {**EVIDENCE, "numbers": {"false_alarm": 1e-9}}
    precise = replace(RESULT, seconds=4.600049999, evidence=(numbers,))
    step = StepTime("istiod", "primary", 1.23456789, 2.3456789, "done")
    path = report.write(replace(REPORT, behaviours=(precise,), steps=(step,)), tmp_path)
    found = report.load(path)
    assert found.behaviours[0].seconds == 4.6
    assert found.behaviours[0].evidence[0]["numbers"]["false_alarm"] == 1e-9
    assert found.steps == (StepTime("istiod", "primary", 1.235, 2.346, "done"),)


def test_what_cannot_be_json_is_not_written(tmp_path: Path) -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(InvalidReport, match="JSON"):
            report.write(replace(REPORT, behaviours=(replace(RESULT, seconds=value),)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_not_loaded(tmp_path: Path) -> None:
    path = report.write(REPORT, tmp_path)
    whole = path.read_text(encoding="utf-8")
    for damaged, said in (
        (whole[:-10], "not JSON"),
        (whole.replace('"conformant"', '"fine"'), "verdict"),
        ("[]", "object"),
    ):
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(InvalidReport, match=said):
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
                evidence=(
                    {
                        **EVIDENCE,
                        "sample_lines": [f"authorization: Bearer {token}"],
                        "numbers": {token: 1},
                    },
                ),
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
        for turn in range(2000):
            report.point_latest(tmp_path, runs[turn % 2])
    finally:
        stop.set()
        reader.join()
    assert not failures
    assert seen == {"one", "two"}, "the reader looked while the link moved"
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
    assert abs(datetime.fromisoformat(report.utc()) - datetime.now(UTC)) < timedelta(seconds=60)


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
    schema = json.loads(report.SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    objects = dict(_objects(schema))
    assert len(objects) >= 10
    for path, found in objects.items():
        # A map of free names says what its values are; all else lists its names and takes no other.
        extra = found["additionalProperties"]
        assert extra is False or ("type" in extra and "properties" not in found), path
        for name, entry in found.get("properties", {}).items():
            assert entry.get("description"), f"{path}.{name} is not described"
