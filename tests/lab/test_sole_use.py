"""Two runs never have one cluster name at once, and a dead one has none: by real processes."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.sole_use import sole_use
from splithorizon.base.errors import UsageProblem
from splithorizon.run.journal import runs_folder
from tests.support.child_python import line_of, running

HOLDS = """
import signal, subprocess, sys
from lab.sole_use import sole_use
with sole_use("lab", "run-1"):
    # What a run starts must not hold the name once the run is gone.
    left = subprocess.Popen(["sleep", "60"])
    print(left.pid, flush=True)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "splithorizon"


@pytest.fixture
def others() -> Iterator[list[int]]:
    """Processes that have to go in the end."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_a_name_in_use_is_refused_and_the_user_of_it_named(others: list[int]) -> None:
    with running(HOLDS) as child:
        others.append(int(line_of(child)))
        with pytest.raises(UsageProblem) as refused, sole_use("lab", "run-2"):
            pytest.fail("two runs have one name")
        assert f"run run-1 (process {child.pid})" in str(refused.value)
        assert str(refused.value).endswith("Nothing was created.")
        with pytest.raises(UsageProblem, match="run run-1"), sole_use("lab", "run-3"):
            pytest.fail("being refused took the name from the first")


def test_the_name_of_a_killed_run_is_free_at_once_though_its_children_live(others: list[int]) -> None:
    with running(HOLDS) as child:
        others.append(int(line_of(child)))
        child.send_signal(signal.SIGKILL)
        child.wait(30)
        with sole_use("lab", "run-2"), pytest.raises(UsageProblem, match=rf"run run-2 \(process {os.getpid()}\)"):
            ExitStack().enter_context(sole_use("lab", "run-3"))


def test_names_are_held_apart_from_one_another_and_given_back(state: Path) -> None:
    with sole_use("lab", "run-1"), sole_use("lab-2", "run-2"):
        pass
    with sole_use("lab", "run-3"):
        assert list(runs_folder().iterdir()) == [], "a lock is no leftover of a run"
    for made in (state / "names", state / "names" / "lab"):
        assert stat.S_IMODE(made.stat().st_mode) & 0o077 == 0


def test_a_run_that_breaks_gives_its_name_back() -> None:
    with pytest.raises(KeyError), sole_use("lab", "run-1"):
        raise KeyError
    with sole_use("lab", "run-2"):
        pass
