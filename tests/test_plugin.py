"""Outcomes become verdicts and exit codes: real runs of pytest on a small suite, on a mesh that is told of.

The small suite has this repository's plug-ins and a session that creates nothing; everything else,
from the command line to report.json, is as in a run on two clusters.
"""

from __future__ import annotations

import html
import json
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fixtures.reporting import _failure
from splithorizon.checks import CheckFailed
from splithorizon.errors import EnvironmentBroke
from tests.child_pytest import REPOSITORY, pytest_in
from tests.test_facts import facts

CONFTEST = """
from pathlib import Path

import os
import signal
import time

import pytest

from fixtures.lifecycle import SESSION, is_worker
from splithorizon.errors import Cancelled, EnvironmentBroke, UsageProblem
from splithorizon.mesh.facts import MeshFacts
from splithorizon.session import Session

PLUGINS = ("behaviours", "claims", "options", "lifecycle", "selection", "reporting")
pytest_plugins = [f"fixtures.{name}" for name in PLUGINS]
HERE = Path(__file__).parent


def note(text):
    with (HERE / "notes").open("a") as file:
        file.write(text + "\\n")


class Told(Session):
    def provision(self):
        note("provisioned")
        self._require_report_folder()
        self._undo.callback(self.undo)
        how = (HERE / "how").read_text()
        if how == "misused":
            raise UsageProblem("the name is taken. Nothing was created.")
        if how == "broken":
            raise EnvironmentBroke("kind failed", seen="no node", next_command="kind get nodes")
        if how == "indiscreet":
            self.secrets.append(b"an-opaque-token-of-a-plug-in")
            self.progress.say("asked with an-opaque-token-of-a-plug-in")
            raise EnvironmentBroke("no answer", seen="refused an-opaque-token-of-a-plug-in")
        if how == "cancelled":
            raise Cancelled("the run is being stopped")
        self.facts = MeshFacts.from_json((HERE / "facts.json").read_text())
        return self.facts

    def undo(self):
        how = (HERE / "how").read_text()
        if how == "stuck":
            raise EnvironmentBroke("kind could not delete", seen="busy")
        for word in how.split():
            if word == "later":
                time.sleep(2.1)
            elif word.startswith("SIG"):
                os.kill(os.getpid(), getattr(signal, word))
        note("undone" + (" after the report" if list(HERE.glob("reports/*/report.json")) else ""))


def pytest_configure(config):
    if SESSION in config.stash:
        made = config.stash[SESSION]
        config.stash[SESSION] = Told(made.options, made.progress, run_id=made.run_id)
"""

MODULE = '''"""{claim}

Given  a small suite
"""
import os, signal, time
import pytest
from fixtures.behaviours import behaviour
from splithorizon.checks import CheckFailed, Evidence
from splithorizon.diagnosis.causes import Cause
from splithorizon.errors import EnvironmentBroke, TimedOut
from splithorizon.observations.proxy_log import AccessLogSilent

WHY = (Cause("c-1", "c"), Cause("c-2", "e"))
FAILED = CheckFailed("it holds", expected="a", seen="b", samples=7, causes=WHY, next_command="d")
NUMBERS = {{"requests": 7, "joined": 7, "unjoined": 0}}
COUNTED = {{"requests": 9, "joined": 6, "unjoined": 3}}
UNJOINED = CheckFailed(
    "it joins", expected="9", seen="6", samples=9, causes=WHY, next_command="d", numbers=COUNTED
)
EVIDENCE = Evidence("it holds", "7 of 7", NUMBERS, (1, 6), ("line",), ("10.0.0.1:80",))

@pytest.fixture
def broken():
    raise TimedOut("the pod was not ready")

@pytest.fixture
def failed():
    raise FAILED

@pytest.fixture
def broken_at_the_end():
    yield
    raise RuntimeError("no way back")

{test}
'''

HOLDS = "def test_it(prove): prove(EVIDENCE)"
FAILS = "def test_it(): raise FAILED"


class Small:
    """A checkout in small: its suites, its runs and what they left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.home = folder / "home"
        self.reports = self.folder / "reports"
        self.folder.mkdir()
        (self.folder / "conftest.py").write_text(CONFTEST)
        (self.folder / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\njunit_family = xunit1\n")
        (self.folder / "facts.json").write_text(facts(folder).to_json())
        self.how("ready")

    def how(self, provisioning_ends: str) -> None:
        (self.folder / "how").write_text(provisioning_ends)

    def add(self, test: str, *, claim: str = "It holds.", name: str = "test_it_holds", profile: str = "core") -> None:
        module = self.folder / "suites" / "area" / f"{name}.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        marked = re.sub(
            r"^(?=def test_)", f'@behaviour(profile="{profile}", breaks_when="a-fault")\n', test, flags=re.MULTILINE
        )
        module.write_text(MODULE.format(test=marked, claim=claim))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return pytest_in(self.folder, "suites/", *arguments, home=self.home)

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.reports / "latest" / "report.json").read_text())
        return found

    @property
    def notes(self) -> list[str]:
        return (self.folder / "notes").read_text().splitlines()


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small(tmp_path)


# One process, and xdist's controller with a worker: where the small suite has one test, a second has none to run.
every_way = pytest.mark.parametrize("workers", [0, 1], ids=["alone", "a worker"])


@every_way
def test_what_holds_is_conformant(small: Small, workers: int) -> None:
    small.add(HOLDS, claim="It holds\nover two lines.")
    done = small.run(f"-n{workers}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (small.report["verdict"], small.report["exit_status"]) == ("conformant", 0)
    (found,) = small.report["behaviours"]
    assert (found["area"], found["behaviour"]) == ("area", "test_it_holds")
    assert found["claim"] == "It holds over two lines."
    assert (found["verdict"], found["key_number"]) == ("conformant", "7 of 7")
    assert found["evidence"][0]["addresses"] == ["10.0.0.1:80"]
    assert small.report["totals"] == {"requests": 7, "joined": 7, "unjoined": 0}
    clusters = small.report["clusters"]
    assert [(one["name"], one["id"], one["context"]) for one in clusters] == [
        ("primary", "primary", "lab-primary"),
        ("remote", "remote", "lab-remote"),
    ]
    assert [(one["runs_istiod"], one["control_plane"]) for one in clusters] == [(True, None), (False, "primary")]
    assert small.notes == ["provisioned", "undone"]
    assert (small.reports / "latest" / "junit.xml").is_file()


@every_way
def test_a_refuted_claim_is_not_conformant(small: Small, workers: int) -> None:
    small.add(FAILS)
    small.add(HOLDS, name="test_another")
    done = small.run(f"-n{workers}")
    assert done.returncode == 1, done.stdout + done.stderr
    assert small.report["verdict"] == "not conformant"
    verdicts = {found["behaviour"]: found["verdict"] for found in small.report["behaviours"]}
    assert verdicts == {"test_it_holds": "not conformant", "test_another": "conformant"}
    (found,) = (one for one in small.report["behaviours"] if one["failure"])
    assert "expected: a" in found["failure"]
    assert (found["likely_cause"], found["next_command"]) == ("c; or e", "d")
    assert found["cause_ids"] == ["c-1", "c-2"]
    assert "Traceback" not in done.stdout
    assert not re.search(r"test_it_holds\.py:\d", done.stdout), "the check's words, not the code's"


def test_each_failure_is_told_once_and_whole(small: Small) -> None:
    command = (
        "kubectl --context remote -n sample logs deploy/sleep -c istio-proxy " + "--selector=app=sleep " * 8 + "-f"
    )
    small.add(
        "def test_it(): raise CheckFailed('it holds', expected='an answer', seen='silence', samples=7, "
        f"causes=[Cause('gateway-away', 'a gateway is away')], "
        f"next_command={command!r})"
    )
    small.add("def test_it(): raise EnvironmentBroke('the API server is away', seen='no route')", name="test_broken")
    small.add("def test_it():\n    wanted = 3\n    assert wanted == 4", name="test_mistaken")
    done = small.run("-n0")
    lines = [line.strip() for line in done.stdout.splitlines()]
    for said in (
        "expected: an answer",
        "seen:     silence",
        "samples:  7",
        "likely:   a gateway is away",
        command,
        "the API server is away. Seen: no route",
        ">       assert wanted == 4".strip(),
    ):
        assert lines.count(said) == 1, said
    assert "short test summary" not in done.stdout
    assert "= FAILURES =" not in done.stdout
    assert re.search(r"=+ 3 failed", done.stdout), "pytest's count is as ever"


@pytest.mark.parametrize(
    "test",
    [
        "def test_it(): raise CheckFailed('a', expected='b', seen='c', samples=1, causes=[], next_command='')",
        "def test_it(prove): prove(Evidence('it holds', '7 of 7', {'share': float('nan')}))",
    ],
    ids=["an accusation without a command", "a number that is none"],
)
@every_way
def test_a_result_that_cannot_be_reported_is_inconclusive(small: Small, test: str, workers: int) -> None:
    small.add(test)
    small.add(HOLDS, name="test_another")
    done = small.run(f"-n{workers}")
    assert done.returncode == 10, done.stdout + done.stderr
    assert small.report["inconclusive_reason"].startswith(
        "the result of suites/area/test_it_holds.py::test_it cannot be"
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout + done.stderr


def test_who_asks_pytest_for_its_account_gets_it(small: Small) -> None:
    small.add(FAILS)
    done = small.run("-n0", "--tb=short")
    assert "= FAILURES =" in done.stdout
    assert done.stdout.count("expected: a\n") == 2


def test_what_a_step_beside_it_said_is_told_too(small: Small) -> None:
    small.add(
        "def test_it():\n    error = EnvironmentBroke('the primary is away')\n"
        "    error.add_note('then remote failed too: it is away')\n    raise error"
    )
    small.run("-n0")
    (found,) = small.report["behaviours"]
    assert found["failure"] == "the primary is away\nthen remote failed too: it is away"


def test_a_template_is_filled_in_for_the_report_and_not_in_the_exception(tmp_path: Path) -> None:
    template = "kubectl <remote> -n <namespace> get pods"
    refuted = CheckFailed(
        "it holds", expected="a", seen="b", samples=1, causes=(), next_command=template, numbers={"joined": 1}
    )
    broken = EnvironmentBroke("it is away", next_command=template)
    for error in (refuted, broken):
        before = (error.args, str(error))
        found = _failure(error, facts(tmp_path), traceback="")
        assert found["next_command"] == f"kubectl --kubeconfig {tmp_path}/remote.kubeconfig -n sample get pods"
        assert "<remote>" not in json.dumps(found)
        assert (error.args, str(error), error.next_command) == (*before, template)


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
    ids=["a file", "forced", "forced and forbidden"],
)
def test_colours_are_those_of_pytest(
    small: Small, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], coloured: bool
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    small.add(HOLDS)
    done = small.run("-n0")
    assert ("\x1b[32m✓ conformant" in done.stdout) is coloured
    assert ("✓ conformant" in done.stdout) is True


STEPS = """
class Slow(Told):
    def provision(self):
        with self.progress.step("kind cluster", role="primary"):
            time.sleep(0.6)
        return super().provision()

    def undo(self):
        with self.progress.step("kind cluster deleted", role="primary"):
            super().undo()


Told = Slow
"""


@pytest.mark.parametrize("in_ci", [False, True], ids=["a person", "a CI system"])
def test_a_terminal_shows_what_runs_and_keeps_every_line_whole(small: Small, in_ci: bool) -> None:
    conftest = small.folder / "conftest.py"
    before, hook, after = conftest.read_text().partition("def pytest_configure")
    conftest.write_text(before + STEPS.lstrip() + "\n\n" + hook + after)
    small.add(FAILS)
    own, end = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "NO_COLOR"}}
    environment |= {"TERM": "xterm", "COLUMNS": "120", "HOME": str(small.home), "PYTHONPATH": str(REPOSITORY)}
    environment |= {"CI": "true"} if in_ci else {}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "suites/", "-n0"]
    with subprocess.Popen(command, cwd=small.folder, env=environment, stdin=end, stdout=end, stderr=end) as child:
        os.close(end)
        read = b""
        # Linux ends a terminal that nobody writes to any more by an error, macOS by nothing.
        with suppress(OSError):
            while part := os.read(own, 65536):
                read += part
        os.close(own)
    assert child.returncode == 1, read.decode()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", read.decode()).replace("\r", "\n").splitlines()
    step = r"\[primary\] kind cluster( deleted)?"
    assert len([line for line in lines if re.search(rf"^ +\d+\.\d s  ✓ {step} \(\d+\.\d s\)$", line)]) == 2, lines
    running = [line for line in lines if re.search(rf"… {step} \(\d+ s\)$", line)]
    begun = [line for line in lines if re.search(rf"… {step}$", line)]
    assert (bool(running), len(begun)) == ((False, 2) if in_ci else (True, 0))
    assert [line for line in lines if re.search(r"test_it_holds\.py F +\[100%\]$", line)], "not erased by the display"
    assert lines.count("      expected: a") == 1


UNJUDGED = {
    "def test_it(): raise EnvironmentBroke('the API server is away')": "API server is away",
    "def test_it(): raise TimedOut('it never came')": "it never came",
    "def test_it(): assert 1 == 2": "1 == 2",
    "def test_it(): {}['missing']": "missing",
    "def test_it(): pytest.fail('by hand')": "by hand",
    "def test_it(no_such_fixture): pass": "no_such_fixture",
    "def test_it(broken): pass": "the pod was not ready",
    "def test_it(failed): pass": "it holds",
    "def test_it(broken_at_the_end): pass": "no way back",
    "@pytest.mark.timeout(0.2, method='signal')\ndef test_it(): time.sleep(9)": "Timeout",
}


def test_whatever_else_ends_a_test_is_inconclusive(small: Small) -> None:
    small.add(HOLDS, name="test_holds")
    for number, test in enumerate(UNJUDGED):
        small.add(test, name=f"test_{number}")
    done = small.run("-n0")
    assert done.returncode == 10, done.stdout + done.stderr
    assert (small.report["verdict"], small.report["exit_status"]) == ("inconclusive", 10)
    assert "API server is away" in small.report["inconclusive_reason"], "the first of them"
    assert "INCONCLUSIVE" in done.stdout
    found = {one.pop("behaviour"): one for one in small.report["behaviours"]}
    assert found.pop("test_holds")["verdict"] == "conformant"
    for number, said in enumerate(UNJUDGED.values()):
        assert found[f"test_{number}"]["verdict"] == "inconclusive"
        assert said in found[f"test_{number}"]["failure"]
    assert small.notes == ["provisioned", "undone"]


@every_way
def test_what_could_not_be_judged_has_the_cause_that_its_error_tells(small: Small, workers: int) -> None:
    small.add("def test_it(): raise AccessLogSilent('the log is empty')")
    assert small.run(f"-n{workers}").returncode == 10
    (found,) = small.report["behaviours"]
    assert (found["verdict"], found["cause_ids"]) == ("inconclusive", ["access-log-off"])


def test_inconclusive_comes_from_workers_too(small: Small) -> None:
    small.add("def test_it(broken): pass")
    done = small.run("-n2")
    assert done.returncode == 10, done.stdout + done.stderr
    assert "the pod was not ready" in small.report["inconclusive_reason"]
    assert small.notes == ["provisioned", "undone"]


def test_a_worker_that_dies_is_inconclusive(small: Small) -> None:
    small.add("def test_it(): os.kill(os.getpid(), signal.SIGKILL)")
    small.add(HOLDS, name="test_another")
    done = small.run("-n2")
    assert small.report["verdict"] == "inconclusive"
    assert "crashed" in small.report["inconclusive_reason"]
    assert done.returncode == 10, done.stdout + done.stderr
    assert small.notes == ["provisioned", "undone"]


def test_a_refuted_claim_weighs_more_than_one_that_could_not_be_judged(small: Small) -> None:
    small.add(FAILS)
    small.add("def test_it(broken): pass", name="test_another")
    assert small.run("-n0").returncode == 1
    assert small.report["verdict"] == "not conformant"


def test_a_refuted_claim_stays_refuted_when_the_end_breaks_too(small: Small) -> None:
    small.add("def test_it(broken_at_the_end): raise FAILED")
    assert small.run("-n0").returncode == 1
    (found,) = small.report["behaviours"]
    assert found["verdict"] == "not conformant"
    assert found["failure"].startswith("it holds")


@pytest.mark.parametrize(
    "test",
    ["def test_it(): pytest.skip('not today')", "@pytest.mark.xfail\ndef test_it(): raise FAILED"],
    ids=["skipped", "expected to fail"],
)
def test_what_was_not_judged_is_partial_at_best(small: Small, test: str) -> None:
    small.add(test)
    small.add(HOLDS, name="test_another")
    small.run("-n0")
    assert small.report["verdict"] == "partial"


def test_a_selection_is_partial(small: Small) -> None:
    small.add(HOLDS)
    small.add(HOLDS, name="test_another")
    assert small.run("-n0", "-k", "another").returncode == 0
    assert small.report["verdict"] == "partial"
    assert [entry["behaviour"] for entry in small.report["not_claimed"]] == ["test_it_holds"]


@every_way
def test_no_test_at_all_proves_nothing_and_creates_nothing(small: Small, workers: int) -> None:
    small.add(HOLDS)
    done = small.run(f"-n{workers}", "-k", "nothing_like_it")
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout + done.stderr
    assert (small.report["verdict"], small.report["exit_status"]) == ("inconclusive", 5)
    assert small.report["inconclusive_reason"] == "no check was run"
    assert not (small.folder / "notes").exists()


@every_way
def test_a_suite_that_cannot_be_imported_is_named_and_creates_nothing(small: Small, workers: int) -> None:
    small.add(HOLDS)
    small.add("import no_such_module\n" + HOLDS, name="test_another")
    done = small.run(f"-n{workers}")
    assert done.returncode == 10, done.stdout + done.stderr
    assert (small.report["verdict"], small.report["exit_status"]) == ("inconclusive", 10)
    assert "test_another.py" in small.report["inconclusive_reason"]
    assert "no_such_module" in small.report["inconclusive_reason"]
    assert "interrupted" not in small.report["inconclusive_reason"]
    assert not (small.folder / "notes").exists()


def test_a_suite_that_cannot_be_imported_leaves_no_verdict_to_the_others(small: Small) -> None:
    small.add(HOLDS)
    small.add("import no_such_module\n" + HOLDS, name="test_another")
    assert small.run("-n0", "--continue-on-collection-errors").returncode == 10
    assert "no_such_module" in small.report["inconclusive_reason"]
    assert [found["verdict"] for found in small.report["behaviours"]] == ["conformant"]


def test_a_path_that_is_not_there_is_misuse_before_workers_start(small: Small) -> None:
    small.add(HOLDS)
    done = small.run("-n2", "suites/area/test_mistyped.py")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "test_mistyped.py" in done.stderr
    assert "Nothing was created." in done.stderr
    assert not (small.folder / "notes").exists()
    assert list(small.reports.rglob("*")) == []


def test_the_tests_are_collected_first_without_writing_over_the_runs_own_junit(small: Small) -> None:
    small.add(HOLDS)
    mine = small.folder / "mine.xml"
    assert small.run("-n2", f"--junitxml={mine}").returncode == 0
    assert "test_it_holds" in mine.read_text()


@every_way
def test_a_mesh_that_cannot_be_made_is_inconclusive_and_undone(small: Small, workers: int) -> None:
    small.how("broken")
    small.add(HOLDS)
    done = small.run(f"-n{workers}")
    assert done.returncode == 10, done.stdout + done.stderr
    assert small.report["verdict"] == "inconclusive"
    assert small.report["inconclusive_reason"] == "kind failed. Seen: no node"
    assert small.report["next_command"] == "kind get nodes"
    lines = done.stdout.splitlines()
    assert lines.count("  because: kind failed. Seen: no node") == 1
    assert lines.count("    kind get nodes") == 1, "a line of its own, to be copied"
    assert (done.stdout + done.stderr).count("kind failed") == 1, "told once"
    assert small.report["behaviours"] == []
    assert small.notes == ["provisioned", "undone"]
    assert "Traceback" not in done.stdout + done.stderr


@every_way
def test_a_token_of_no_fixed_form_is_blanked_in_every_line(small: Small, workers: int) -> None:
    small.how("indiscreet")
    small.add(HOLDS)
    done = small.run(f"-n{workers}")
    assert done.returncode == 10, done.stdout + done.stderr
    assert "asked with [redacted]" in done.stderr
    assert "because: no answer. Seen: refused [redacted]" in done.stdout
    assert "an-opaque-token" not in done.stdout + done.stderr
    assert small.report["inconclusive_reason"] == "no answer. Seen: refused [redacted]"


@every_way
def test_misuse_ends_with_one_line_and_no_report(small: Small, workers: int) -> None:
    small.how("misused")
    small.add(HOLDS)
    done = small.run(f"-n{workers}")
    assert done.returncode == 4, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    assert errors == ["ERROR: the name is taken. Nothing was created."]
    assert list(small.reports.rglob("*")) == []
    assert small.notes == ["provisioned", "undone"]


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_undoes_everything_and_ends_as_interrupted(small: Small, number: str) -> None:
    small.add(f"def test_it():\n    os.kill(os.getpid(), signal.{number})\n    time.sleep(9)")
    done = small.run("-n0")
    assert done.returncode == 2, done.stdout + done.stderr
    assert small.report["verdict"] == "inconclusive"
    assert "interrupted" in small.report["inconclusive_reason"]
    assert small.notes == ["provisioned", "undone"]


CHANGED = """
from pathlib import Path
from splithorizon.process import raise_if_cancelled

@pytest.fixture
def changed():
    yield
    with (Path(__file__).parents[2] / "notes").open("a") as file:
        file.write("begins to put back\\n")
        file.flush()
        raise_if_cancelled()
        {end}
        file.write("put back\\n")

def test_it(changed):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(9)
"""


@pytest.mark.parametrize(
    ("kept", "notes"),
    [
        (("--keep-cluster",), ["provisioned", "begins to put back", "put back", "undone"]),
        (("--reuse",), ["provisioned", "begins to put back", "put back", "undone"]),
        ((), ["provisioned", "begins to put back", "undone"]),
    ],
    ids=["a mesh that stays", "a mesh that stayed", "a mesh that goes"],
)
def test_what_an_interrupted_test_changed_is_put_back_while_the_mesh_is_in_reach(
    small: Small, kept: tuple[str, ...], notes: list[str]
) -> None:
    small.add(CHANGED.format(end="pass"))
    done = small.run("-n0", *kept)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "interrupted" in small.report["inconclusive_reason"]
    assert small.notes == notes, "a mesh that goes is waited for by nobody"
    assert "Traceback" not in done.stdout + done.stderr


def test_what_an_interrupted_test_cannot_put_back_is_told(small: Small) -> None:
    small.add(CHANGED.format(end='raise EnvironmentBroke("no answer from the remote")'))
    done = small.run("-n0", "--keep-cluster")
    assert done.returncode == 2, done.stdout + done.stderr
    assert small.report["inconclusive_reason"].startswith("what a test changed could not be undone")
    assert "no answer from the remote" in small.report["inconclusive_reason"]
    assert small.notes == ["provisioned", "begins to put back", "undone"]


# The second comes at once, as from tox and the terminal both.
@pytest.mark.parametrize(("workers", "number"), [(0, "SIGTERM"), (1, "SIGINT SIGINT")], ids=["alone", "a worker"])
def test_a_signal_during_the_removal_breaks_nothing_off(small: Small, workers: int, number: str) -> None:
    small.how(number)
    small.add(HOLDS)
    done = small.run(f"-n{workers}")
    assert done.returncode == 2, done.stdout + done.stderr
    assert small.notes == ["provisioned", "undone"], "the removal went on after the signal"
    assert (small.report["verdict"], small.report["exit_status"]) == ("inconclusive", 2)
    assert "interrupted: while it was ending" in small.report["inconclusive_reason"]
    assert [found["verdict"] for found in small.report["behaviours"]] == ["conformant"], "they are told of all the same"
    assert "Traceback" not in done.stdout + done.stderr


def test_a_second_signal_later_on_ends_at_once(small: Small) -> None:
    small.how("SIGINT later SIGTERM")
    small.add(HOLDS)
    done = small.run("-n0")
    assert done.returncode == 128 + signal.SIGTERM, done.stdout + done.stderr
    assert small.notes == ["provisioned"]


@every_way
def test_a_set_up_that_was_stopped_is_an_interruption(small: Small, workers: int) -> None:
    small.how("cancelled")
    small.add(HOLDS)
    done = small.run(f"-n{workers}")
    assert done.returncode == 2, done.stdout + done.stderr
    assert (small.report["verdict"], small.report["exit_status"]) == ("inconclusive", 2)
    assert small.report["inconclusive_reason"] == "the run was interrupted: the run is being stopped"
    assert small.notes == ["provisioned", "undone"]
    assert "Traceback" not in done.stdout + done.stderr


def test_replies_that_were_not_joined_are_in_the_totals(small: Small) -> None:
    small.add("def test_it(): raise UNJOINED")
    small.add(HOLDS, name="test_another")
    assert small.run("-n0").returncode == 1
    assert small.report["totals"] == {"requests": 16, "joined": 13, "unjoined": 3}
    numbers = {found["behaviour"]: found["numbers"] for found in small.report["behaviours"]}
    assert numbers == {"test_it_holds": {"requests": 9, "joined": 6, "unjoined": 3}, "test_another": {}}


UNWRITABLE = {
    "the link's name is taken": "Path('reports/latest').mkdir(parents=True)",
    "the run's folder became a file": (
        "(run,) = Path('reports').iterdir(); Path('moved').mkdir(); run.rename('moved/run'); run.touch()"
    ),
}


@pytest.mark.parametrize("spoil", UNWRITABLE.values(), ids=UNWRITABLE)
def test_a_report_that_cannot_be_written_is_inconclusive_and_says_so(small: Small, spoil: str) -> None:
    small.add(f"from pathlib import Path\ndef test_it(prove): prove(EVIDENCE); {spoil}")
    done = small.run("-n0")
    assert done.returncode == 10, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "INCONCLUSIVE" in line]
    assert "could not be completed" in line
    assert "Traceback" not in done.stdout + done.stderr
    assert small.notes == ["provisioned", "undone"]
    written = [json.loads(path.read_text()) for path in small.reports.glob("*/report.json")]
    assert {(report["verdict"], report["exit_status"]) for report in written} <= {("inconclusive", 10)}


def test_a_report_that_nothing_may_link_to_is_still_true(small: Small) -> None:
    small.add(HOLDS)
    (small.reports / "latest").mkdir(parents=True)
    assert small.run("-n0").returncode == 10
    (written,) = (path for path in small.reports.glob("*/report.json"))
    report = json.loads(written.read_text())
    assert (report["verdict"], report["exit_status"]) == ("inconclusive", 10)
    assert "latest is no link" in report["inconclusive_reason"]


@pytest.mark.parametrize("named", [(".",), ("tests", ".")], ids=["everything", "tests and everything"])
def test_everything_at_once_is_refused(small: Small, named: tuple[str, ...]) -> None:
    small.add(HOLDS)
    (small.folder / "tests").mkdir()
    (small.folder / "tests" / "test_own.py").write_text("def test_own(): pass\n")
    done = pytest_in(small.folder, *named, home=small.home)
    assert done.returncode == 4, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    assert "`pytest suites/`" in line
    assert "`pytest tests/`" in line
    assert "Nothing was created." in line
    assert not (small.folder / "notes").exists()
    assert pytest_in(small.folder, "--collect-only", ".", home=small.home).returncode == 0


SWEEPING = """
from fixtures import lifecycle
from splithorizon.errors import EnvironmentBroke, UsageProblem
def sweep_all(options, progress):
    yield "removed cluster a"
    raise {error}
lifecycle.sweep_all = sweep_all
"""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        ("EnvironmentBroke('no answer', seen='busy')", 10, "INCONCLUSIVE: no answer. Seen: busy"),
        ("UsageProblem('chmod 700 it. Nothing was created.')", 4, "ERROR: chmod 700 it. Nothing was created."),
    ],
)
def test_a_sweep_that_fails_says_so_in_one_line(small: Small, error: str, code: int, line: str) -> None:
    conftest = small.folder / "conftest.py"
    conftest.write_text(conftest.read_text() + SWEEPING.format(error=error))
    done = small.run("--sweep")
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout.splitlines() == ["removed cluster a"]
    assert [text for text in done.stderr.splitlines() if text] == [line]


def test_a_sweep_of_a_state_folder_that_is_not_ours_is_refused(small: Small) -> None:
    runs = small.home / ".local" / "state" / "splithorizon" / "runs"
    runs.mkdir(parents=True)
    runs.chmod(0o777)
    done = small.run("--sweep")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert f"chmod 700 {runs}" in done.stderr


def test_reports_lie_where_they_are_wanted(small: Small, tmp_path: Path) -> None:
    small.add(HOLDS)
    elsewhere = tmp_path / "elsewhere"
    assert small.run("-n0", f"--report-dir={elsewhere}").returncode == 0
    assert (elsewhere / "latest" / "report.json").is_file()
    assert (elsewhere / "latest" / "summary.md").is_file()
    assert not small.reports.exists()


def test_without_the_suites_nothing_is_provisioned_or_reported(small: Small) -> None:
    small.add(HOLDS)
    (small.folder / "tests").mkdir()
    (small.folder / "tests" / "test_own.py").write_text("def test_own(): pass\n")
    done = pytest_in(small.folder, "tests/", home=small.home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (small.folder / "notes").exists()
    assert not small.reports.exists()


@every_way
def test_what_cannot_be_removed_ends_the_run_inconclusive(small: Small, workers: int) -> None:
    small.how("stuck")
    small.add(HOLDS)
    done = small.run(f"-n{workers}")
    assert done.returncode == 10, done.stdout
    assert small.report["inconclusive_reason"].startswith("kind could not delete")


@every_way
def test_a_refuted_claim_stays_refuted_where_something_cannot_be_removed(small: Small, workers: int) -> None:
    small.how("stuck")
    small.add(FAILS)
    done = small.run(f"-n{workers}")
    assert done.returncode == 1, done.stdout
    assert small.report["verdict"] == "not conformant"
    assert "besides: kind could not delete" in done.stderr


@pytest.mark.parametrize(("ends", "code"), [("prove(EVIDENCE)", 10), ("raise FAILED", 1)], ids=["holds", "refuted"])
def test_a_token_in_the_report_is_told_whatever_the_verdict(small: Small, ends: str, code: int) -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ5b3UifQ.c2lnbmF0dXJl"
    small.add(f"def test_it(prove, record_property):\n    record_property('with', '{token}')\n    {ends}")
    done = small.run()
    assert done.returncode == code, done.stdout
    assert "stands in junit.xml: delete it" in done.stdout + done.stderr


def test_a_profile_that_was_not_asked_for_is_not_claimed(small: Small) -> None:
    small.add(HOLDS)
    small.add(HOLDS, name="test_away", profile="disruptive")
    assert small.run("-n0").returncode == 0
    assert small.report["verdict"] == "conformant"
    assert [found["behaviour"] for found in small.report["behaviours"]] == ["test_it_holds"]
    assert [found["profile"] for found in small.report["behaviours"]] == ["core"]
    (out,) = small.report["not_claimed"]
    assert out["behaviour"] == "test_away"
    assert "of profile disruptive" in out["reason"]


@every_way
def test_a_mark_of_a_profile_claims_that_profile(small: Small, workers: int) -> None:
    small.add(HOLDS)
    small.add(HOLDS, name="test_away", profile="disruptive")
    assert small.run(f"-n{workers}", "-m", "disruptive").returncode == 0
    assert [found["behaviour"] for found in small.report["behaviours"]] == ["test_away"]
    assert (small.report["verdict"], small.report["options"]["profiles"]) == ("conformant", "disruptive")
    (out,) = small.report["not_claimed"]
    assert out["reason"] == "of profile core, which was not asked for"


def test_without_a_mark_of_a_profile_the_everyday_ones_are_claimed(small: Small) -> None:
    small.add(HOLDS)
    small.add(HOLDS, name="test_away", profile="disruptive")
    assert small.run("-n0", "-m", "not disruptive").returncode == 0
    assert [found["behaviour"] for found in small.report["behaviours"]] == ["test_it_holds"]
    assert small.report["verdict"] == "conformant"


@pytest.mark.parametrize("asked", [("--profile", "all"), ("--profile", "core,disruptive")], ids=" ".join)
def test_what_disrupts_comes_last(small: Small, asked: tuple[str, ...]) -> None:
    small.add(HOLDS, name="test_away", profile="disruptive")
    small.add(HOLDS)
    assert small.run("-n0", *asked).returncode == 0
    assert [found["behaviour"] for found in small.report["behaviours"]] == ["test_it_holds", "test_away"]
    assert (small.report["verdict"], small.report["not_claimed"]) == ("conformant", [])


@every_way
def test_a_test_is_given_the_time_of_its_waits_and_those_are_scaled_everywhere(small: Small, workers: int) -> None:
    told = """
def test_it(request, prove):
    from splithorizon.durations import current
    assert (request.node.get_closest_marker("timeout").args[0], current().small_command) == ({longest}, 240)
    prove(EVIDENCE)
"""
    small.add(told.format(longest=1200))
    small.add(told.format(longest=4800), name="test_away", profile="disruptive")
    done = small.run(f"-n{workers}", "--profile", "all", "--timeout-scale", "4")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_takes_the_mesh_away_comes_last_of_all(small: Small) -> None:
    small.add(HOLDS, name="test_a_cleanup", profile="cleanup")
    small.add(HOLDS, name="test_b_away", profile="disruptive")
    small.add(HOLDS)
    assert small.run("-n0", "--profile", "all").returncode == 0
    names = [found["behaviour"] for found in small.report["behaviours"]]
    assert names == ["test_it_holds", "test_b_away", "test_a_cleanup"]
    assert small.report["options"]["look_before"] is True


def test_what_takes_the_mesh_away_comes_last_also_where_what_failed_comes_first(small: Small) -> None:
    small.add(FAILS, name="test_a_cleanup", profile="cleanup")
    small.add(HOLDS)
    for _ in range(2):
        assert small.run("-n0", "-p", "cacheprovider", "--ff", "--profile", "all").returncode == 1
    assert [found["behaviour"] for found in small.report["behaviours"]] == ["test_it_holds", "test_a_cleanup"]


@pytest.mark.parametrize("beside", [("--keep-cluster",), ("--reuse",), ("--contexts", "a,b"), ("-n2",)], ids=" ".join)
def test_a_mesh_that_somebody_still_needs_is_not_taken_away(small: Small, beside: tuple[str, ...]) -> None:
    small.add(HOLDS)
    small.add(HOLDS, name="test_a_cleanup", profile="cleanup")
    assert small.run("-n0", "--profile", "core,cleanup", *beside).returncode == 0
    assert {found["behaviour"] for found in small.report["behaviours"]} == {"test_it_holds"}
    (out,) = small.report["not_claimed"]
    assert "takes the mesh away" in out["reason"]
    assert small.report["options"]["look_before"] is False


def test_a_module_that_is_named_is_asked_for(small: Small) -> None:
    small.add(HOLDS, name="test_away", profile="disruptive")
    done = pytest_in(small.folder, "suites/area/test_away.py", "-n0", home=small.home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [found["behaviour"] for found in small.report["behaviours"]] == ["test_away"]


@every_way
def test_nothing_disrupts_a_mesh_of_others_unless_it_is_allowed(small: Small, workers: int) -> None:
    small.add(HOLDS)
    small.add(HOLDS, name="test_away", profile="disruptive")
    foreign = ("--contexts", "a,b", "--profile", "all", f"-n{workers}")
    assert small.run(*foreign).returncode == 0
    assert [found["behaviour"] for found in small.report["behaviours"]] == ["test_it_holds"]
    (out,) = small.report["not_claimed"]
    assert "--allow-disruption" in out["reason"]
    assert small.run(*foreign, "--allow-disruption").returncode == 0
    assert {found["behaviour"] for found in small.report["behaviours"]} == {"test_it_holds", "test_away"}


def test_an_exempt_behaviour_is_told_with_its_reason_and_leaves_the_verdict_partial(small: Small) -> None:
    small.add(HOLDS)
    small.add(FAILS, name="test_weighed")
    assert small.run("-n0", "--exempt", "test_weighed=our zones are weighted").returncode == 0
    assert small.report["verdict"] == "partial"
    assert small.report["not_claimed"] == [
        {
            "behaviour": "test_weighed",
            "reason": "exempt: our zones are weighted",
            "kind": "exempt",
            "profile": "core",
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--exempt", "test_it_holds"), "a reason is needed"),
        (("--exempt", "test_mistyped=because"), "no behaviour 'test_mistyped'"),
        (("--profile", "core,fast"), "no profile 'fast'"),
    ],
    ids=["no reason", "no such behaviour", "no such profile"],
)
def test_what_cannot_be_chosen_is_refused(small: Small, arguments: tuple[str, ...], said: str) -> None:
    small.add(HOLDS)
    done = small.run("-n0", *arguments)
    assert done.returncode == 4, done.stdout + done.stderr
    assert said in done.stderr
    assert "Nothing was created." in done.stderr
    assert not (small.folder / "notes").exists()


NOT_OFFERED = """
@pytest.fixture
def absent():
    from fixtures.claims import not_claimed
    not_claimed("the mesh has one network")
def test_it(absent, prove): prove(EVIDENCE)
"""


@every_way
def test_what_a_mesh_does_not_offer_is_not_claimed_of_it(small: Small, workers: int) -> None:
    small.add(HOLDS)
    small.add(NOT_OFFERED, name="test_absent")
    assert small.run(f"-n{workers}").returncode == 0
    assert small.report["verdict"] == "conformant"
    assert small.report["not_claimed"] == [
        {
            "behaviour": "test_absent",
            "reason": "the mesh has one network",
            "kind": "not offered",
            "profile": "core",
        }
    ]


def test_any_other_skip_leaves_the_verdict_partial(small: Small) -> None:
    small.add(HOLDS)
    small.add("def test_it(): pytest.skip('not today')", name="test_skipped")
    assert small.run("-n0").returncode == 0
    assert small.report["verdict"] == "partial"


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        ("CheckFailed('a', expected='b', seen='c', samples=1, causes=(), next_command={!r})", 1),
        ("EnvironmentBroke('a', seen='c', next_command={!r})", 10),
    ],
    ids=["refuted", "inconclusive"],
)
def test_commands_are_told_for_the_mesh_that_was_looked_at(small: Small, raised: str, status: int) -> None:
    facts = json.loads((small.folder / "facts.json").read_text())
    facts["clusters"]["remote"]["kubectl"] = "kubectl --context east"
    (small.folder / "facts.json").write_text(json.dumps({**facts, "namespace": "splithorizon-1"}))
    given, told = "kubectl <remote> -n <namespace> logs", "kubectl --context east -n splithorizon-1 logs"
    small.add(f"def test_it(): raise {raised.format(given)}")
    done = small.run("-n0")
    assert done.returncode == status
    (found,) = small.report["behaviours"]
    assert found["next_command"] == told
    assert done.stdout.splitlines().count(f"        {told}") == 1, "uncut, on a line of its own"
    junit = (small.reports / "latest" / "junit.xml").read_text()
    assert told in junit
    assert given not in done.stdout + found["failure"] + html.unescape(junit)
