"""An istiod that does not watch a cluster again: in an existing mesh it stays, and the summary has the command."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from splithorizon.base import timeouts
from splithorizon.base.waiting import NotYet
from splithorizon.disruption import watching
from splithorizon.disruption.experiment import Experiment
from splithorizon.istio.topology import Watch
from splithorizon.undo import remarks
from tests.disruption.conftest import WatchingMesh
from tests.support.existing_mesh import SYSTEM, Run, TwoClusters

WATCH = Watch("primary", "remote")


@pytest.mark.parametrize("after", [watching.restart_unless_watched, watching.restart_and_await])
def test_an_existing_meshs_istiod_is_never_restarted_and_the_summary_says_how(
    clusters: TwoClusters,
    run: Run,
    mesh: WatchingMesh,
    experiment: Experiment,
    after: Callable[[Experiment, Watch], None],
) -> None:
    with timeouts.shortened(0.001):
        after(experiment, WATCH)
    assert [method for method, path, *_ in clusters.primary.asked if method != "GET" and "lease" not in path] == []
    (said,) = remarks.read(run.folder)
    assert said.pending
    assert said.object == "istiod of the primary"
    assert said.command == f"{run.primary.kubectl} --namespace {SYSTEM} rollout restart deployment/istiod-stable"
    assert "timeout" in said.reason

    watching.settle_remarks(mesh)
    assert remarks.read(run.folder) == [said], "it does not watch the remote yet"
    mesh.status = "synced"
    watching.settle_remarks(mesh)
    assert remarks.read(run.folder) == []


def test_an_istiod_that_watches_again_needs_no_remark(run: Run, mesh: WatchingMesh, experiment: Experiment) -> None:
    mesh.status = "synced"
    watching.restart_unless_watched(experiment, WATCH)
    assert remarks.read(run.folder) == []


def test_a_cluster_is_known_in_a_state(mesh: WatchingMesh) -> None:
    watching.require_known(mesh, WATCH)
    watching.require_known(mesh, WATCH, "timeout")
    with pytest.raises(NotYet, match=r"istiod-1 says of its clusters: \{'remote': 'timeout'\}"):
        watching.require_known(mesh, WATCH, "synced")
