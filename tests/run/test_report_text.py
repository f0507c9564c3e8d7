"""What every account of a run says: here the command that runs again what did not pass."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace

import pytest

from splithorizon.run.report_text import rerun_command
from splithorizon.run.verdict import Verdict
from tests.support.run_reports import RED, WRONG

pytest_plugins = ["pytester"]


def words(command: str) -> list[str]:
    """Split a command as a shell does; shlex does not support continued lines."""
    return shlex.split(command.replace("\\\n", ""))


def test_the_rerun_keeps_options_and_drops_what_passed() -> None:
    run = replace(
        RED,
        command=(
            "pytest",
            "suites/",
            "-n",
            "2",
            "--hub=127.0.0.1:5000/istio",
            "-k",
            "path or ready",
        ),
    )
    assert rerun_command(run).splitlines() == [
        "pytest -n 2 --hub=127.0.0.1:5000/istio -k 'path or ready' \\",
        f"  '{WRONG.nodeid}'",
    ]
    by_file = replace(RED, command=("pytest", "./suites/routing/test_x.py::test_x", "/work/main/suites", "-v"))
    assert words(rerun_command(by_file)) == ["pytest", "-v", WRONG.nodeid]
    without = replace(
        RED, command=("pytest", "suites/", "--deselect", "suites/routing/test_x.py", "--report-dir", "suites")
    )
    assert words(rerun_command(without)) == ["pytest", *without.command[2:], WRONG.nodeid]


def test_the_rerun_attaches_to_clusters_that_were_kept() -> None:
    kept = replace(RED, options={"keep": True, "reuse": False}, command=("pytest", "suites/", "--keep-cluster"))
    assert words(rerun_command(kept))[:3] == ["pytest", "--keep-cluster", "--reuse"]
    again = replace(kept, options={"keep": True, "reuse": True}, command=("pytest", "--keep-cluster", "--reuse"))
    assert words(rerun_command(again)).count("--reuse") == 1


@pytest.mark.parametrize("unicode", [True, False], ids=["as it is", "in ASCII"])
def test_the_rerun_really_runs_the_failures_and_nothing_else(pytester: pytest.Pytester, unicode: bool) -> None:
    pytester.makeini("[pytest]\ndisable_test_id_escaping_and_forfeit_all_rights_to_community_support = true\n")
    suite = pytester.mkpydir("suites") / "test_paths.py"
    suite.write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('route', ['primary→remote', 'remote→primary'])\n"
        "def test_path(route):\n    assert route == 'primary→remote'\n"
        "def test_other():\n    pass\n",
        encoding="utf-8",
    )
    first = pytester.inline_run("suites/", "-q", "-p", "no:cacheprovider")
    calls = [phase for phase in first.getreports("pytest_runtest_logreport") if phase.when == "call"]
    assert [phase.outcome for phase in calls] == ["passed", "failed", "passed"]
    verdicts = {"passed": Verdict.CONFORMANT, "failed": Verdict.NOT_CONFORMANT}
    results = tuple(replace(WRONG, nodeid=phase.nodeid, verdict=verdicts[phase.outcome]) for phase in calls)
    run = replace(RED, command=(sys.executable, "-m", "pytest", "suites/", "-v"), behaviours=results)
    command = rerun_command(run, unicode=unicode)
    second = pytester.run("sh", "-c", command)
    if unicode:
        assert second.parseoutcomes() == {"failed": 1}
        second.stdout.fnmatch_lines(["*[[]remote→primary[]] FAILED*"])
    else:
        assert command.isascii()
        assert second.parseoutcomes() == {"failed": 1, "passed": 2}, "its whole module, which ASCII can name"
