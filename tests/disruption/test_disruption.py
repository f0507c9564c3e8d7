"""What a disruption does to an existing mesh beyond its undo: nothing; and no name in it is another run's too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from splithorizon.base import timeouts
from splithorizon.disruption import disruption
from splithorizon.disruption.disruption import Disruption
from splithorizon.istio.topology import Role
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic.istiod import WatchedCluster
from splithorizon.undo import undo_log
from tests.support.existing_mesh import SYSTEM, Run, TwoClusters, two_clusters
from tests.support.mesh_info import mesh_info


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[TwoClusters]:
    with two_clusters(tmp_path) as clusters:
        clusters.primary.put(
            "Deployment", "istiod-stable", SYSTEM, labels={"app": "istiod", "istio.io/rev": "default"},
            spec={"selector": {"matchLabels": {"app": "istiod"}}},
        )  # fmt: skip
        yield clusters


@pytest.fixture
def run(mesh: TwoClusters, tmp_path: Path) -> Run:
    (tmp_path / "runs").mkdir()
    return mesh.run(tmp_path / "runs", "20261127-031200-ab12")


class Watching(Mesh):
    """The mesh of a run, whose istiod says this of the remote."""

    status = "timeout"

    def __init__(self, run: Run, *, owned: bool = False) -> None:
        found = mesh_info(run.folder)
        clusters = {
            role: replace(cluster, system_namespace=SYSTEM, kubectl=run.kubes[role].kubectl)
            for role, cluster in found.clusters.items()
        }
        super().__init__(replace(found, clusters=clusters, owned=owned))

    @property
    def control_plane(self) -> SimpleNamespace:  # type: ignore[override]
        watched = (WatchedCluster(self.facts.clusters[Role.REMOTE].cluster_id, self.status),)
        return SimpleNamespace(clusters=lambda: {"istiod-1": watched})


@pytest.mark.parametrize("after", ["_require_watched", "_begin_istiod_anew"])
def test_an_existing_meshs_istiod_is_never_restarted_and_the_summary_says_how(
    mesh: TwoClusters, run: Run, after: str
) -> None:
    watching = Watching(run)
    with timeouts.shortened(0.001), ExitStack() as undo:
        getattr(Disruption(watching, undo, times=100), after)()
    assert [method for method, path, *_ in mesh.primary.asked if method != "GET" and "lease" not in path] == []
    (said,) = undo_log.remarks(run.folder)
    assert said.pending
    assert said.command == (f"{run.primary.kubectl} --namespace {SYSTEM} rollout restart deployment/istiod-stable")
    assert "timeout" in said.reason

    watching.status = "synced"
    disruption.settle_remarks(watching)
    assert undo_log.remarks(run.folder) == []


def test_an_istiod_that_watches_again_is_no_matter_to_tell(mesh: TwoClusters, run: Run) -> None:
    watching = Watching(run)
    watching.status = "synced"
    with ExitStack() as undo:
        Disruption(watching, undo, times=100)._require_watched()
    assert undo_log.remarks(run.folder) == []


def test_what_is_made_in_a_system_namespace_has_the_runs_id_in_its_name(mesh: TwoClusters, run: Run) -> None:
    with ExitStack() as undo:
        named = Disruption(Watching(run), undo, times=100)._named("remote-api-server")
    assert named == "splithorizon-remote-api-server-20261127-031200-ab12"
    assert len(named) <= 63, "a Service's name"
