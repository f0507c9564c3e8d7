from __future__ import annotations

import pytest

from lab.images.supported import main, pairs, supported

TAGS = ["1.29.1", "1.29.0", "1.30.0-rc.1", "1.28.10", "1.28.3", "1.27.9\n", "1.26.8", "v1.31.0", "1.29-alpha.abc", ""]


def test_the_newest_patch_of_each_of_the_three_newest_minors() -> None:
    assert supported(TAGS) == ["1.29.1", "1.28.10", "1.27.9"]


def test_upgrades_lead_from_each_to_the_next() -> None:
    assert pairs(["1.29.1", "1.28.10", "1.27.9"]) == [
        {"before": "1.28.10", "after": "1.29.1"},
        {"before": "1.27.9", "after": "1.28.10"},
    ]


def test_without_a_release_a_workflow_fails() -> None:
    with pytest.raises(ValueError, match="no release"):
        supported(["1.30.0-beta.0"])


def test_outputs_of_a_workflow_are_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["1.29.1", "1.28.3"])
    assert capsys.readouterr().out == (
        'versions=["1.29.1", "1.28.3"]\npairs=[{"before": "1.28.3", "after": "1.29.1"}]\n'
    )
