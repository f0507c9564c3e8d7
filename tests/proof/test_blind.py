"""The blind faults: every script says what it breaks, and a run's answer becomes one row."""

from __future__ import annotations

from pathlib import Path

import pytest

from proof.blind import BadHeader, BlindFault, every_fault, row
from proof.blind.__main__ import main
from splithorizon.base import process
from splithorizon.run.report import BehaviourResult, Diagnosis, Fact, RunReport, Versions
from splithorizon.run.verdict import Verdict

FAULT = BlindFault("gone", Path("gone.sh"), "it is gone.", "Service remote/sample/helloworld: absent", "fault")


def said(*, diagnosis: Diagnosis | None = None, undiagnosed: str = "") -> RunReport:
    results = [
        BehaviourResult(
            area="routing", behaviour=name, claim="It holds.", nodeid=name, verdict=verdict, seconds=1.0, route=route,
            failure="no" if verdict is Verdict.NOT_CONFORMANT else "", cause_ids=causes, likely_cause="it is gone",
            next_command="kubectl get all",
        )
        for name, verdict, route, causes in [
            ("test_a", Verdict.NOT_CONFORMANT, "primary→remote", ("gone", "refused")),
            ("test_b", Verdict.NOT_CONFORMANT, "", ("gone",)),
            ("test_c", Verdict.CONFORMANT, "", ()),
        ]
    ]  # fmt: skip
    moment = "2026-11-27T06:00:00.000Z"
    return RunReport(
        run_id="run", started=moment, finished=moment, command=("pytest",), verdict=Verdict.NOT_CONFORMANT,
        versions=Versions(splithorizon="1", python="3"), exit_status=1, behaviours=tuple(results),
        diagnosis=diagnosis, undiagnosed=undiagnosed,
    )  # fmt: skip


def test_there_are_one_hundred_and_thirty_of_three_kinds() -> None:
    faults = every_fault()
    assert len(faults) == 130
    assert {fault.kind for fault in faults} == {"fault", "unknowable", "sound"}
    assert {fault.name: fault.broken for fault in faults if not fault.broken.endswith(".")} == {}


def test_a_script_acts_on_both_words_and_on_no_other() -> None:
    for fault in every_fault():
        text = fault.script.read_text()
        assert "\ninject() {" in text, fault.name
        assert "\nundo() {" in text, fault.name
        assert text.endswith('\n"$1"\n'), fault.name
        process.run(["sh", "-n", str(fault.script)], within=60)


@pytest.mark.parametrize(
    "head",
    [
        "# Broken: it is gone.\n# Answer: a Service\n",
        "# Broken: it is gone.\n# Answer: a Service\n# Kind: other\n",
        "# Answer: a Service\n# Kind: fault\n",
    ],
)
def test_a_head_without_all_its_parts_is_refused(tmp_path: Path, head: str) -> None:
    (tmp_path / "gone.sh").write_text(f"#!/bin/sh\n{head}inject() {{ :; }}\n")
    with pytest.raises(BadHeader, match=r"gone\.sh"):
        every_fault(tmp_path)


def test_a_sentence_of_the_head_may_have_colons_and_lines(tmp_path: Path) -> None:
    (tmp_path / "gone.sh").write_text(
        "#!/bin/sh\n# Broken, twice: one: two,\n# three.\n# Answer: Service a: b\n# Kind: fault\n"
    )
    (fault,) = every_fault(tmp_path)
    assert (fault.broken, fault.answer, fault.kind) == ("one: two, three.", "Service a: b", "fault")


def test_a_row_has_what_was_named_and_what_was_refuted() -> None:
    fact = Fact("remote Service sample/helloworld", "spec.selector", "app=hello")
    found = row(
        FAULT, said(diagnosis=Diagnosis(cause_id="selects-nothing", text="It selects no pod.", evidence=(fact,)))
    )
    assert found["refuted"] == ["test_a primary→remote", "test_b"]
    assert found["likely"] == ["gone", "refused"]
    assert found["diagnosis"]["cause_id"] == "selects-nothing"
    assert found["diagnosis"]["evidence"][0]["value"] == "app=hello"
    assert found["verdict"] == "not conformant"


def test_a_row_without_a_diagnosis_says_why() -> None:
    found = row(FAULT, said(undiagnosed="no known cause fits"))
    assert found["diagnosis"] is None
    assert found["undiagnosed"] == "no known cause fits"


def test_a_fault_that_could_not_be_made_has_no_verdict() -> None:
    assert row(FAULT, None, problem="kubectl: no such context") == {
        "name": "gone", "kind": "fault", "answer": FAULT.answer, "problem": "kubectl: no such context",
    }  # fmt: skip


def test_a_head_may_name_another_shape(tmp_path: Path) -> None:
    head = "#!/bin/sh\n# Broken: it is gone.\n# Answer: a Service\n# Kind: fault\n"
    (tmp_path / "any.sh").write_text(head)
    (tmp_path / "several.sh").write_text(head + "# Shape: multi-primary\n")
    assert [(one.kind, one.shape) for one in every_fault(tmp_path)] == [
        ("fault", "primary-remote"), ("fault", "multi-primary"),
    ]  # fmt: skip


def test_a_fault_of_another_shape_creates_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", every_fault()[0].name, "--topology", "multi-primary"]) == 4
    assert "Nothing was created" in capsys.readouterr().err


def test_an_unknown_shape_creates_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--topology", "no-such-shape"]) == 4
    assert "no-such-shape" in capsys.readouterr().err


def test_an_unknown_name_creates_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "no-such-fault"]) == 4
    assert "Nothing was created" in capsys.readouterr().err
