"""The exit status of a command of the proof."""

from __future__ import annotations

import pytest

from proof import ending
from proof.changes import every_fault
from splithorizon.base.errors import EnvironmentBroke, UsageProblem


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (UsageProblem("--meshes 0"), 4, "--meshes 0"),
        (EnvironmentBroke("no engine"), 10, "INCONCLUSIVE: no engine"),
    ],
    ids=["interrupted", "misused", "inconclusive"],
)
def test_an_early_end_has_its_status_and_its_reason(
    raised: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> None:
        raise raised

    assert ending.status_of(run) == status
    assert capsys.readouterr().err.strip() == said


def test_a_run_that_ends_well_has_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending.status_of(lambda: None) == 0
    assert capsys.readouterr().err == ""


def test_faults_are_chosen_by_name_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    faults = every_fault()
    first, second = faults[:2]
    assert ending.chosen(faults, []) == list(faults)
    assert ending.chosen(faults, [second.name, first.name]) == [second, first]
    assert ending.chosen(faults, ["no-such"]) == []
    assert capsys.readouterr().err == "--only no-such: no such fault. Nothing was created.\n"
