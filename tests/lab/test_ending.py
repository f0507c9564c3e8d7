"""How a command that makes meshes ends: its exit status, and its signals."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lab import ending
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


def test_the_first_signal_interrupts_and_the_next_does_not_break_off_what_is_undone() -> None:
    program = (
        "import os, signal\n"
        "from lab import ending\n"
        "ending.interrupt_on_first_signal()\n"
        "def run():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    finally:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        print('undone', flush=True)\n"
        "raise SystemExit(ending.status_of(run))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "undone\n", "\nstopped\n")
