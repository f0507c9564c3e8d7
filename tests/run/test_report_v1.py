"""Reports of version 1 are read as reports of version 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from splithorizon.run import report_file
from splithorizon.run.progress import StepTime
from splithorizon.run.report import Unclaimed
from splithorizon.run.report_file import InvalidReport
from splithorizon.run.verdict import Verdict

RECORDED_V1 = Path(__file__).parents[1] / "data" / "report" / "version-1.json"


def test_a_report_of_version_1_can_be_read(tmp_path: Path) -> None:
    """The file was written by version 0.1.0 at commit 31923cd, by the small suite of ``test_plugin``."""
    old = json.loads(RECORDED_V1.read_text())
    converted = report_file.load(RECORDED_V1)
    assert converted.schema_version == 2
    assert (converted.run_id, converted.verdict, converted.exit_status) == (old["run_id"], Verdict.NOT_CONFORMANT, 1)
    assert [(cluster.name, cluster.context, cluster.control_plane) for cluster in converted.clusters] == [
        ("primary", "lab-primary", None),
        ("remote", "lab-remote", "primary"),
    ]
    assert converted.versions.istio == {"primary": "1.29.1", "remote": "1.29.1"}
    results = {(result.behaviour, result.verdict): result for result in converted.behaviours}
    refuted = results["test_paths", Verdict.NOT_CONFORMANT]
    assert refuted.failure == "it holds\n  expected: a\n  seen:     b\n  samples:  7"
    assert (refuted.likely_cause, refuted.next_command, refuted.cause_ids) == ("c", "d", ())
    broken = results["test_broken", Verdict.INCONCLUSIVE]
    assert broken.failure == "the API server is away. Seen: no route to host"
    assert broken.next_command == "kubectl get --raw /readyz"
    assert {entry.behaviour: (entry.kind, entry.profile) for entry in converted.not_claimed} == {
        "test_left_out": (Unclaimed.NOT_RUN, ""),
        "test_a_cleanup": (Unclaimed.NOT_ASKED_FOR, "cleanup"),
        "test_absent": (Unclaimed.NOT_OFFERED, ""),
        "test_away": (Unclaimed.NOT_ASKED_FOR, "disruptive"),
        "test_exempt": (Unclaimed.EXEMPT, ""),
    }
    assert report_file.load(report_file.write(converted, tmp_path)) == converted


def test_steps_of_version_1_name_their_cluster(tmp_path: Path) -> None:
    old = json.loads(RECORDED_V1.read_text())
    step = {"name": "istiod", "role": "primary", "started_after": 1.0, "seconds": 2.0, "outcome": "done"}
    path = tmp_path / "report.json"
    path.write_text(json.dumps({**old, "steps": [step, {**step, "role": None}]}))
    assert report_file.load(path).steps == (
        StepTime("istiod", "primary", 1.0, 2.0, "done"),
        StepTime("istiod", None, 1.0, 2.0, "done"),
    )


@pytest.mark.parametrize("missing", ["topology", "behaviours", "run_id"])
def test_half_a_report_of_version_1_is_refused(tmp_path: Path, missing: str) -> None:
    old = json.loads(RECORDED_V1.read_text())
    del old[missing]
    path = tmp_path / "report.json"
    path.write_text(json.dumps(old))
    with pytest.raises(InvalidReport, match=f"no report of version 1: KeyError: '{missing}'"):
        report_file.load(path)
