"""The command ``splithorizon``, run as a program in the checkout; tests/repository/test_wheel.py installs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import splithorizon
from splithorizon import cli
from splithorizon.base import paths
from splithorizon.run import catalogue, report, report_file
from splithorizon.run.option_table import OPTIONS
from splithorizon.run.report import BehaviourResult
from splithorizon.run.verdict import Verdict
from tests.support.repository import REPOSITORY

CLEANUP = "suites/cleanup/test_uninstalling_leaves_nothing.py::test_uninstalling_leaves_nothing"


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, as a user without any run of this machine's."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CTX_", "XDG_", "KUBE"))}
    return subprocess.run(
        [sys.executable, "-m", "splithorizon.cli", *words],
        cwd=folder,
        env={**own, "HOME": str(folder / "home"), "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refused run."""
    assert done.returncode == 4, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    return line.removeprefix("ERROR: ")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"splithorizon {splithorizon.__version__}\n"


@pytest.mark.parametrize("words", [[], ["judge"], ["list", "--jsn"], ["completion", "fish"]], ids=" ".join)
def test_what_is_no_command_is_bad_input(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 4
    assert "usage: splithorizon" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["verify", "--help"], ["verify", "a,b", "-h"], ["sweep", "-h"]])
def test_help_names_every_command_and_option(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    if words[0] == "verify":
        named = [option.flag for option in OPTIONS if option.name not in {"contexts", "sweep", "expired"}]
        assert [flag for flag in [*named, "--keep-cluster", "A,B"] if flag not in said] == []
    elif words[0] == "sweep":
        assert [flag for flag in ("--kubeconfig-remote", "--expired") if flag not in said] == []
    else:
        assert [
            name
            for name in ("verify", "sweep", "diagnose", "rbac", "compare", "list", "completion")
            if f"\n    {name}" not in said
        ] == []


def test_the_list_has_each_behaviour_with_claim_profile_and_faults(capsys: pytest.CaptureFixture[str]) -> None:
    known = catalogue.behaviours(paths.SUITES)
    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 * len(known)
    for number, one in enumerate(known):
        assert lines[3 * number : 3 * number + 3] == [
            f"{one.area}/{one.name}  [{one.profile}]",
            f"  {one.claim}.",
            f"  breaks when: {', '.join(one.breaks_when)}",
        ]


def test_the_list_by_profile_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "--profile", "cleanup", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found == {
        "behaviour": "test_uninstalling_leaves_nothing",
        "area": "cleanup",
        "profile": "cleanup",
        "claim": "Uninstalling leaves every cluster as it was before",
        "breaks_when": ["left-by-an-earlier-installation", "kept-by-a-finalizer"],
        "test": CLEANUP.partition("::")[0],
    }
    assert cli.main(["list", "--profile", "fast"]) == 4
    assert "there is no profile 'fast'" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    shell = f"set -o pipefail; {sys.executable} -m splithorizon.cli list | head -1; echo ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.stdout.splitlines()[1:] == ["0"]
    assert done.stderr == ""


def test_pytest_is_not_imported_but_by_what_runs_it(tmp_path: Path) -> None:
    code = (
        "import sys; from splithorizon import cli; cli.main(['list']); print('pytest' in sys.modules, file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "test_both_versions_answer" in done.stdout


def collected(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.rpartition("/")[2] for line in done.stdout.splitlines() if "::" in line]


def test_contexts_tests_and_pytests_options_are_passed_on(tmp_path: Path) -> None:
    quiet = ("--collect-only", "-q")
    every = collected(run(tmp_path, "verify", "a,b", *quiet))
    assert len(every) > 50
    area = collected(run(tmp_path, "verify", "a,b", "suites/readiness", *quiet))
    assert area
    assert set(area) < set(every)
    assert collected(run(tmp_path, "verify", "a,b", *quiet, "-k", "gateways_are_ready and primary")) == [
        "test_gateways_are_ready.py::test_gateways_are_ready[primary]"
    ]
    one = "suites/routing/test_both_versions_answer.py::test_both_versions_answer[remote→primary]"
    assert collected(run(tmp_path, "verify", one, *quiet)) == [one.rpartition("/")[2]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verify", "a"), "--contexts a: at least two contexts are needed"),
        (("verify", "a,b", "--requests", "5"), "--requests must be at least 100"),
        (("verify", "a,b"), "--contexts: no context named 'a'"),
        (("verify", "env"), "--contexts env: CTX_CLUSTER1 and CTX_CLUSTER2 not set"),
        (("verify", "a,b", "--exempt", "test_nothing=why"), "there is no behaviour 'test_nothing'"),
        (("sweep", "a,b"), "--contexts: no context named 'a'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_input_is_refused_in_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "kubeconfig").write_text("apiVersion: v1\nkind: Config\n")
    assert said in refusal(run(tmp_path, *words, KUBECONFIG=str(tmp_path / "kubeconfig")))
    assert not (tmp_path / "reports").exists()


def test_a_suite_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "a,b", "suites/nothing", "suites/routing", "suites/test_no.py::test_no"]) == 4
    said = capsys.readouterr().err
    assert said == (
        "splithorizon verify: there is no suites/nothing, suites/test_no.py::test_no. Nothing was created.\n"
    )


def test_options_may_stand_in_a_file_and_what_is_typed_replaces_them(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("apiVersion: v1\nkind: Config\n")
    (tmp_path / "splithorizon.toml").write_text(
        'contexts = "east,west"\nkubeconfig-primary = "kubeconfig"\nrequests = 5\n'
    )
    assert refusal(run(tmp_path, "verify")).startswith("--requests must be at least 100")
    assert "no context named 'east'" in refusal(run(tmp_path, "verify", "--requests", "100"))
    assert "no context named 'north'" in refusal(run(tmp_path, "verify", "north,south", "--requests=100"))


def test_an_exemption_whose_last_day_is_over_ends_the_run(tmp_path: Path) -> None:
    exemption = '[exempt.test_both_versions_answer]\nreason = "a migration"\nuntil = {}\n'
    (tmp_path / "splithorizon.toml").write_text(exemption.format("2026-01-31"))
    said = refusal(run(tmp_path, "verify", "a,b"))
    assert "the exemption of test_both_versions_answer ended with 2026-01-31 (a migration)" in said
    (tmp_path / "splithorizon.toml").write_text(exemption.format("9999-12-31"))
    quiet = ("suites/routing", "--collect-only", "-q")
    assert not [name for name in collected(run(tmp_path, "verify", "a,b", *quiet)) if "both_versions_answer" in name]
    (tmp_path / "splithorizon.toml").write_text("exemption = 1\n")
    assert "exemption: there is no such option" in refusal(run(tmp_path, "verify", "a,b"))


def test_pytest_in_the_checkout_reads_the_file_too(tmp_path: Path) -> None:
    (tmp_path / "splithorizon.toml").write_text('contexts = "east,west"\ncluster-name = "mine"\n')
    command = [sys.executable, "-m", "pytest", "-c", str(REPOSITORY / "pyproject.toml"), f"--rootdir={REPOSITORY}"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [*command, str(REPOSITORY / "suites")],
        cwd=tmp_path, env=own, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert refusal(done).startswith("--cluster-name: said of clusters that this suite makes, and --contexts names")


def test_a_sweep_without_contexts_removes_what_dead_runs_left_here(tmp_path: Path) -> None:
    stillborn = tmp_path / "home" / ".local" / "state" / "splithorizon" / "runs" / "stillborn"
    stillborn.mkdir(parents=True, mode=0o700)
    stillborn.parent.chmod(0o700)
    os.utime(stillborn, (0, 0))
    (tmp_path / "bin").mkdir()
    done = run(tmp_path, "sweep", PATH=str(tmp_path / "bin"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not stillborn.exists()


OFFERED = {
    "splithorizon ver": ["verify"],
    "splithorizon ": [
        "verify",
        "watch",
        "sweep",
        "diagnose",
        "compare",
        "list",
        "rbac",
        "completion",
        "--help",
        "--version",
    ],
    "splithorizon diagnose a,b --s": ["--service"],
    "splithorizon watch a,b --bud": ["--budget"],
    "splithorizon verify a,b --prof": ["--profile"],
    "splithorizon verify a,b --profile c": ["core", "cleanup"],
    "splithorizon verify --kubeconfig-primary k": [],
    "splithorizon sweep --kubeconfig-r": ["--kubeconfig-remote"],
    "splithorizon completion ": ["bash", "zsh", "--help"],
}


@pytest.mark.parametrize("line", OFFERED)
def test_bash_completes_commands_options_and_profiles(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "bash"]) == 0
    *words, last = line.split(" ")
    typed = " ".join(f"'{word}'" for word in [*words, last])
    script = capsys.readouterr().out + f"\nCOMP_WORDS=({typed}); COMP_CWORD={len(words)}; _splithorizon\n"
    script += 'printf "%s\\n" "${COMPREPLY[@]}"\ncomplete -p splithorizon'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True)
    *offered, registered = done.stdout.split("\n")[:-1]
    assert [word for word in offered if word] == OFFERED[line]
    assert registered == "complete -o default -F _splithorizon splithorizon"


def test_zsh_takes_the_script_of_bash(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "zsh"]) == 0
    first, _, rest = capsys.readouterr().out.partition("\n")
    assert first == "autoload -U +X bashcompinit && bashcompinit"
    assert cli.main(["completion", "bash"]) == 0
    assert capsys.readouterr().out == rest
    if zsh := shutil.which("zsh"):
        done = subprocess.run([zsh, "-fc", f"autoload -U compinit && compinit -D\n{first}\n{rest}"], check=False)
        assert done.returncode == 0


def write_report(folder: Path, verdict: Verdict) -> Path:
    """The report of a run with one result."""
    refuted = verdict is Verdict.NOT_CONFORMANT
    result = BehaviourResult(
        "routing", "test_it", "It holds.", "suites/routing/test_it.py::test_it", verdict, 1.0,
        failure=verdict, likely_cause="c", next_command="d",
    )  # fmt: skip
    return report_file.write(
        report.RunReport(
            folder.name, "2026-11-27T06:00:00.000Z", "2026-11-27T06:02:00.000Z", ("pytest", "suites/"),
            report.Versions("0.1.0", "3.11.2"), verdict, 1 if refuted else 0, behaviours=(result,),
        ),
        folder,
    )  # fmt: skip


def test_compare_ends_with_1_for_a_regression_and_0_without(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = str(write_report(tmp_path / "sound", Verdict.CONFORMANT))
    broken = str(write_report(tmp_path / "broken", Verdict.NOT_CONFORMANT))
    assert cli.main(["compare", sound, broken]) == 1
    assert "  REGRESSION test_it: conformant → not conformant\n" in capsys.readouterr().out
    assert cli.main(["compare", broken, sound]) == 0
    assert "0 regressions, 2 other differences" in capsys.readouterr().out
    assert cli.main(["compare", sound, sound, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["regressions"] == 0


def test_compare_refuses_what_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", str(tmp_path), str(tmp_path / "nothing")]) == 4
    assert capsys.readouterr().err == f"splithorizon compare: {tmp_path}: there is no report.json\n"
