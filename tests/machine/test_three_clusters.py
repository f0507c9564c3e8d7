"""A mesh of three clusters that is there: its shape is read from the contexts in any order, judged, and left as it was.

The suite makes the clusters. The runs that judge them know the contexts of a kubeconfig alone, as of any mesh.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import topology
from lab.engine import Engine, network
from lab.images import supply
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from tests.machine.conftest import Starter, require_conformant, unused
from tests.machine.existing_mesh import ExistingMesh, Shape
from tests.machine.limits import HANGS_AFTER

pytestmark = [pytest.mark.engine, pytest.mark.long]

NAMES = ("cluster1", "cluster2", "cluster3")


@dataclass(frozen=True)
class Made:
    """The mesh, a context of each cluster by its name, and what the clusters' names in kind begin with."""

    mesh: ExistingMesh
    contexts: dict[str, str]
    prefix: str

    def named(self, *names: str) -> str:
        """The contexts of some clusters in that order, as --contexts takes them."""
        return ",".join(self.contexts[name] for name in names)


@pytest.fixture(scope="module", params=["labels", "mesh-networks"])
def made(podman: Engine, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Made]:
    """Two clusters on one network, a primary and its remote, and a primary on another, made and kept by a run."""
    folder, clusters = tmp_path_factory.mktemp("three"), unused("three")
    kubectl = str(supply.supply(Options(images="built"), podman, Progress(print)).kubectl)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(folder / "state"))
        run = Starter(folder)(
            "suites/readiness", "--provider", "podman", "--images", "built", "--topology", "three-clusters",
            "--network-mode", request.param, "--cluster-name", clusters, "--keep-cluster", "--profile", "core",
        )  # fmt: skip
        try:
            assert run.ends() == 0, run.output
            files = dict(re.findall(r"\[(\S+)\] kept: export KUBECONFIG=(\S+)", run.output))
            contexts = {name: f"kind-{clusters}-{name}" for name in NAMES}
            joined = _joined(kubectl, [files[name] for name in NAMES], folder / "kubeconfig")
            yield Made(ExistingMesh(kubectl, joined, tuple(contexts.values()), Shape()), contexts, clusters)
        finally:
            run.stop()
            for name in NAMES:
                podman.remove_container(topology.node_of(f"{clusters}-{name}"))
            network.remove(podman, podman.network)


def _joined(kubectl: str, files: list[str], target: Path) -> Path:
    """One kubeconfig with the contexts of several."""
    environment = {**os.environ, "KUBECONFIG": os.pathsep.join(files)}
    command = [kubectl, "config", "view", "--flatten"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=HANGS_AFTER, env=environment)
    target.touch(mode=0o600)
    target.write_text(done.stdout)
    return target


def test_three_clusters_are_judged_in_any_order_of_their_contexts_and_left_as_they_were(
    start: Starter, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(made.mesh.kubeconfig))
    before = made.mesh.snapshot()

    run = start("suites/", "--contexts", made.named("cluster3", "cluster2", "cluster1"))

    assert run.ends() == 0, run.output
    require_conformant(run.report, run.output)
    assert {one["name"]: one["control_plane"] for one in run.report["clusters"]} == {
        "cluster1": None,
        "cluster2": "cluster1",
        "cluster3": None,
    }
    assert "3 clusters on 2 networks" in run.output
    assert "cluster2: managed by the istiod of cluster1" in run.output
    assert made.mesh.changed_since(before) == set()


def test_a_third_cluster_that_is_not_named_is_mentioned_and_is_no_fault(
    start: Starter, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(made.mesh.kubeconfig))
    before = made.mesh.snapshot()

    run = start("suites/", "--contexts", made.named("cluster3", "cluster1"))

    assert run.ends() == 0, run.output
    require_conformant(run.report, run.output)
    assert "the istiod of cluster1 also watches cluster2, which is not named" in run.output
    assert "the istiod of cluster3 also watches cluster2, which is not named" in run.output
    assert made.mesh.changed_since(before) == set()


def test_two_clusters_of_one_network_are_refused(start: Starter, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(made.mesh.kubeconfig))

    run = start("suites/", "--contexts", made.named("cluster2", "cluster1"))

    assert run.ends() == 4, run.output
    assert "all are in the network network1" in run.output
    assert made.mesh.ours == []


def test_kept_clusters_are_not_taken_for_a_mesh_of_another_topology(start: Starter, made: Made) -> None:
    before = made.mesh.snapshot()

    run = start(
        "suites/readiness", "--provider", "podman", "--images", "built", "--topology", "multi-primary",
        "--cluster-name", made.prefix, "--reuse",
    )  # fmt: skip

    assert run.ends() == 4, run.output
    assert f"the kept cluster '{made.prefix}-cluster2' was made with network network1" in run.output
    assert made.mesh.changed_since(before) == set()
