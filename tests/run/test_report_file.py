"""The file is written completely or not at all, is free of secrets, and ``latest`` always leads to a report."""

from __future__ import annotations

import base64
import itertools
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from splithorizon.run import redaction, report_file
from splithorizon.run.progress import StepTime
from splithorizon.run.report_file import InvalidReport
from splithorizon.run.verdict import Verdict
from tests.support.full_report import EVIDENCE, FAILED, REPORT, RESULT


def test_a_report_that_redaction_makes_invalid_is_not_written_and_the_former_one_stays(tmp_path: Path) -> None:
    path = report_file.write(REPORT, tmp_path)
    with pytest.raises(InvalidReport, match=r"\$\.run_id"):
        report_file.write(REPORT, tmp_path, lambda text: text.replace("20261123", "[...]"))
    assert report_file.load(path).run_id == REPORT.run_id
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"], "no temporary file stays"


def test_times_are_rounded_and_probabilities_are_not(tmp_path: Path) -> None:
    precise = replace(RESULT, seconds=4.600049999, evidence=(replace(EVIDENCE, numbers={"false_alarm": 1e-9}),))
    step = StepTime("istiod", "primary", 1.23456789, 2.3456789, "done")
    path = report_file.write(replace(REPORT, behaviours=(precise,), steps=(step,)), tmp_path)
    loaded = report_file.load(path)
    assert loaded.behaviours[0].seconds == 4.6
    assert loaded.behaviours[0].evidence[0].numbers["false_alarm"] == 1e-9
    assert loaded.steps == (StepTime("istiod", "primary", 1.235, 2.346, "done"),)


def test_a_damaged_file_is_not_loaded(tmp_path: Path) -> None:
    path = report_file.write(REPORT, tmp_path)
    whole = path.read_text(encoding="utf-8")
    for damaged, message in (
        (whole[:-10], "not JSON"),
        (whole.replace('"conformant"', '"fine"'), "verdict"),
        ("[]", "breaks report.schema.json"),
    ):
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(InvalidReport, match=message):
            report_file.load(path)


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

    path = report_file.write(leaky, tmp_path / "run")
    assert redaction.leaks(path.parent, secrets) == []
    assert path.read_text().count(redaction.REDACTED) == 6
    assert report_file.load(path).behaviours[0].failure.startswith("cacerts holds\n"), "only the secret is blanked"


def test_the_runs_own_redactor_can_be_given(tmp_path: Path) -> None:
    odd = b"a secret in no known form: 4711"
    content = replace(REPORT, command=("pytest", odd.decode()))
    path = report_file.write(content, tmp_path, redaction.Redactor([odd]).redact)
    assert redaction.leaks(tmp_path, [odd]) == []
    assert report_file.load(path).command == ("pytest", redaction.REDACTED)


def test_latest_is_relative_and_follows_the_last_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        report_file.write(replace(REPORT, run_id=name), tmp_path / name)
        latest = report_file.point_latest(tmp_path, tmp_path / name)
        assert latest.readlink() == Path(name)
        assert report_file.load(latest / "report.json").run_id == name
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert report_file.load(moved / "latest" / "report.json").run_id == "two"


def test_latest_is_replaced_without_a_moment_in_which_it_is_missing(tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("one", "two")]
    for run in runs:
        report_file.write(replace(REPORT, run_id=run.name), run)
    report_file.point_latest(tmp_path, runs[0])
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
            report_file.point_latest(tmp_path, runs[turn % 2])
            if turn >= 2000 and seen == {"one", "two"}:
                break
    finally:
        stop.set()
        reader.join()
    assert not failures
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["latest", "one", "two"]


def test_latest_may_dangle_but_must_be_a_link(tmp_path: Path) -> None:
    run = tmp_path / "run"
    report_file.write(REPORT, run)
    (tmp_path / "latest").symlink_to("removed-by-hand")
    report_file.point_latest(tmp_path, run)
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "precious").touch()
    with pytest.raises(FileExistsError, match="move it away"):
        report_file.point_latest(tmp_path, run)
    assert (tmp_path / "latest" / "precious").exists()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["latest", "run"]
