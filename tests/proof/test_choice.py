"""Faults by their names."""

from __future__ import annotations

import pytest

from proof import choice
from proof.changes import every_fault


def test_faults_are_chosen_by_name_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    faults = every_fault()
    first, second = faults[:2]
    assert choice.chosen(faults, []) == list(faults)
    assert choice.chosen(faults, [second.name, first.name]) == [second, first]
    assert choice.chosen(faults, ["no-such"]) == []
    assert capsys.readouterr().err == "--only no-such: no such fault. Nothing was created.\n"
