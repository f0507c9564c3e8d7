from __future__ import annotations

from pathlib import Path

import pytest

from lab.suite_run import judged
from splithorizon.base.errors import EnvironmentBroke


def test_a_run_that_leaves_no_report_is_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentBroke, match="left no report"):
        judged(tmp_path / "no-mesh.json", ["suites/"], folder=tmp_path / "reports", log=tmp_path / "log", within=60)
    assert "no-mesh.json: there is no such file" in (tmp_path / "log").read_text()
