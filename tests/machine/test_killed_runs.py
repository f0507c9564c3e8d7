"""A run that is stopped, at whichever step, leaves nothing; one that is killed, nothing after a sweep."""

from __future__ import annotations

import signal
import subprocess
from itertools import chain
from pathlib import Path

import pytest

from splithorizon import topology
from splithorizon.clusters.kind import KIND_LABEL
from splithorizon.engine import Engine
from splithorizon.engine.find import find_engine
from splithorizon.journal import runs_folder
from tests.machine.conftest import Starter, unused

pytestmark = [pytest.mark.engine, pytest.mark.timeout(420)]

CLUSTERS = unused("stopped")
SUITE = ("suites/", "--provider", "podman", "--images", "built", "--cluster-name", CLUSTERS, "--profile", "core")
STEPS = {
    "clusters": r"… \[remote\] kind cluster",
    "istiod": r"… \[primary\] istiod",
    "workloads": r"… \[remote\] workloads ready",
    "tests": r"suites/\w+/test_",
}


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return find_engine("podman", run_folder=tmp_path_factory.mktemp("engine"), say=print)


def left(podman: Engine) -> list[str]:
    """Containers and volumes of the clusters, folders of runs, and programs that a run starts."""
    clusters = [f"{CLUSTERS}-{role}" for role in ("primary", "remote")]
    names = [podman.containers(label=f"{KIND_LABEL}={cluster}") for cluster in clusters]
    volumes = [podman.volumes(label=topology.node_of(cluster)) for cluster in clusters]
    # kind and istioctl are told of the run's folder; other tests' runs may have programs of their own.
    programs = subprocess.run(
        ["pgrep", "--runstates", "R,S,D", "--full", str(runs_folder())], capture_output=True, text=True
    ).stdout
    folders = [str(path) for path in runs_folder().iterdir() if path.is_dir()]
    return [*chain(*names, *volumes), *programs.split(), *folders]


@pytest.mark.parametrize(
    ("number", "step"),
    # The longest first: workers take them as they get free.
    [(signal.SIGINT, "tests"), (signal.SIGTERM, "istiod"), (signal.SIGINT, "clusters")],
    ids=["ctrl-c-at-tests", "sigterm-at-istiod", "ctrl-c-at-clusters"],
)
def test_a_stopped_run_removes_everything_within_a_minute(
    start: Starter,
    podman: Engine,
    number: signal.Signals,
    step: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kubeconfig = tmp_path / "the-users-own"
    kubeconfig.write_bytes(b"not even YAML: [")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))

    run = start(*SUITE)
    run.reaches(STEPS[step])
    open_to_others = _open_to_others()
    run.send(number)

    assert run.ends(within=60) == 2, run.output
    assert left(podman) == [], run.output
    assert open_to_others == {}
    assert kubeconfig.read_bytes() == b"not even YAML: ["


@pytest.mark.parametrize("step", ["workloads", "clusters"])
def test_a_killed_run_is_removed_by_a_sweep_and_nothing_else_is(start: Starter, podman: Engine, step: str) -> None:
    somebody_elses = unused("somebody-elses")
    label, foreign = f"{KIND_LABEL}={somebody_elses}", topology.node_of(somebody_elses)
    podman.run("create", "--name", foreign, "--label", label, _any_image(podman), within=60)
    try:
        run = start(*SUITE)
        run.reaches(STEPS[step])
        run.send(signal.SIGKILL)
        assert run.ends(within=10) == -signal.SIGKILL

        sweep = start("--sweep")

        assert sweep.ends(within=60) == 0, sweep.output
        assert left(podman) == [], sweep.output
        assert podman.containers(label=label) == [foreign]
    finally:
        podman.remove_container(foreign)


def _any_image(podman: Engine) -> str:
    (node, *_) = podman.run(
        "images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=*/node", within=60
    ).stdout.split()
    return node


def _open_to_others() -> dict[str, str]:
    """What of the runs' folders anybody but their owner may read, write or enter."""
    modes = {path: path.lstat().st_mode for path in runs_folder().rglob("*") if not path.is_symlink()}
    return {str(path): oct(mode) for path, mode in modes.items() if mode & 0o077}
