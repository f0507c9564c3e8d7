"""Runs of the suite's own command, as a user would type it, on a mesh that this process holds."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from splithorizon.base import process
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.run import report_file
from splithorizon.run.report import RunReport

REPOSITORY = Path(__file__).resolve().parents[1]


def judged(mesh_file: Path, arguments: Iterable[str], *, folder: Path, log: Path, within: float) -> RunReport:
    """Run the suite on the mesh that ``mesh_file`` describes, and return the report, whatever its verdict.

    ``arguments`` are pytest's; reports go to ``folder``, and what the run prints is added to ``log``. Raises TimedOut
    after ``within`` seconds, and EnvironmentBroke where the run left no report.
    """
    command = [sys.executable, "-m", "pytest", *arguments, "--mesh", str(mesh_file), f"--report-dir={folder}"]
    process.run(command, within=within, cwd=REPOSITORY, check=False, log=log)
    written = folder / report_file.LATEST / report_file.NAME
    if not written.exists():
        raise EnvironmentBroke("a run of the suite left no report", next_command=f"cat {log}")
    return report_file.load(written)
