"""The mesh of a run on two small API servers, whose istiod answers as a test says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from splithorizon.disruption.experiment import Experiment
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic.istiod import WatchedCluster
from tests.support.existing_mesh import SYSTEM, Run, TwoClusters, two_clusters
from tests.support.mesh_info import mesh_info


class WatchingMesh(Mesh):
    """The mesh of a run, whose istiod says ``status`` of the remote."""

    status = "timeout"

    def __init__(self, run: Run, *, owned: bool = False, **changed: Any) -> None:
        found = mesh_info(run.folder)
        clusters = {
            name: replace(cluster, system_namespace=SYSTEM, kubectl=run.kubes[name].kubectl)
            for name, cluster in found.clusters.items()
        }
        super().__init__(replace(found, clusters=clusters, owned=owned, **changed))

    @property
    def istiods(self) -> Any:
        watched = (WatchedCluster(self.info.clusters["remote"].cluster_id, self.status),)
        return {"primary": SimpleNamespace(clusters=lambda: {"istiod-1": watched})}


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[TwoClusters]:
    with two_clusters(tmp_path) as found:
        found.primary.put(
            "Deployment", "istiod-stable", SYSTEM, labels={"app": "istiod", "istio.io/rev": "default"},
            spec={"selector": {"matchLabels": {"app": "istiod"}}},
        )  # fmt: skip
        yield found


@pytest.fixture
def run(clusters: TwoClusters, tmp_path: Path) -> Run:
    return clusters.run(tmp_path / "runs", "20261127-031200-ab12")


@pytest.fixture
def mesh(run: Run) -> WatchingMesh:
    return WatchingMesh(run)


@pytest.fixture
def experiment(mesh: WatchingMesh) -> Iterator[Experiment]:
    with ExitStack() as undo:
        yield Experiment(mesh, undo)
