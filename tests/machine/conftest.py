"""Runs of the suite as a user starts them, watched from outside."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from lab.engine import Engine
from lab.engine.find import find_engine
from tests.machine.existing_mesh import ExistingMesh, Shape, installed
from tests.machine.limits import HANGS_AFTER, STOPPED_WITHIN

CHECKOUT = Path(__file__).resolve().parents[2]
# Those that take the existing mesh have one of them, in one worker; every other module may go to any.
ON_THE_EXISTING_MESH = {"test_cronjob", "test_meshes_of_others", "test_do_no_harm", "test_installed", "test_rights",
    "test_existing_namespace"}  # fmt: skip


def unused(name: str) -> str:
    """The name with an end of its own: what a killed run of these tests left, or another holds, is not in the way."""
    return f"{name}-{secrets.token_hex(2)}"


class Run:
    """One `pytest suites/` of its own."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.folder = folder
        self._log = folder / "output"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--report-dir={folder}", *arguments],
                cwd=CHECKOUT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def reaches(self, line: str) -> None:
        deadline = time.monotonic() + HANGS_AFTER
        while not re.search(line, self.output):
            assert self._process.poll() is None, f"ended before {line!r}:\n{self.output}"
            assert time.monotonic() < deadline, f"no line {line!r} within {HANGS_AFTER} s:\n{self.output}"
            time.sleep(0.1)

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def ends(self) -> int:
        """The exit status, once there is one."""
        try:
            return self._process.wait(HANGS_AFTER)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {HANGS_AFTER} s:\n{self.output}") from None

    def stop(self) -> None:
        """Whatever a failed test left running goes."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOPPED_WITHIN)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    @property
    def run_id(self) -> str:
        """As its report's folder is named."""
        (name,) = (path.name for path in self.folder.iterdir() if path.is_dir() and not path.is_symlink())
        return name

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "latest" / "report.json").read_text())
        return found


class Starter:
    """Starts runs, and stops at the end what still runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.runs: list[Run] = []

    def __call__(self, *arguments: str) -> Run:
        folder = self._folder / str(len(self.runs))
        folder.mkdir()
        run = Run(list(arguments), folder)
        self.runs.append(run)
        return run


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let each test of this folder take as long as it may: several runs, each with clusters of its own."""
    item.add_marker(pytest.mark.timeout(2 * HANGS_AFTER))


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs keep their journals here: those of the machine's user are neither swept nor counted."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


class _OneMesh(LoadFileScheduling):  # type: ignore[misc]  # xdist carries no types
    """As `--dist loadfile`, but all modules on the existing mesh are one."""

    def _split_scope(self, nodeid: str) -> str:
        module = super()._split_scope(nodeid)
        return "the existing mesh" if Path(module).stem in ON_THE_EXISTING_MESH else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _OneMesh | None:
    """Let one worker have the one existing mesh: xdist's own groups do not come about with pytest 9.2."""
    return _OneMesh(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return find_engine("podman", run_folder=tmp_path_factory.mktemp("engine"), say=print)


@pytest.fixture(scope="session")
def existing_mesh(podman: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExistingMesh]:
    """A mesh with a revision, another system namespace than Istio's usual one, and no access log."""
    shape = Shape(revision="canary", system_namespace="mesh-system", access_log="")
    with installed(podman, unused("existing"), shape, tmp_path_factory.mktemp("existing-mesh")) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def two_primaries(podman: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExistingMesh]:
    """A mesh of two primaries, west and east, which log access."""
    shape = Shape(two_primaries=True)
    with installed(podman, unused("equal"), shape, tmp_path_factory.mktemp("two-primaries")) as mesh:
        yield mesh


@pytest.fixture(scope="session")
def as_installed(existing_mesh: ExistingMesh) -> dict[str, str]:
    """What is in its clusters before anything of ours has read them."""
    return existing_mesh.snapshot()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    starter = Starter(tmp_path)
    yield starter
    for run in starter.runs:
        run.stop()


def require_conformant(report: dict[str, Any], output: str) -> None:
    assert report["verdict"] == "conformant", output
    assert report["totals"]["requests"] >= 1000
    assert report["totals"]["unjoined"] == 0
    assert {result["verdict"] for result in report["behaviours"]} == {"conformant"}
