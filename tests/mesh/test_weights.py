"""How many pods each cluster has while batches are sent, and afterwards."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from splithorizon.istio.topology import Route
from splithorizon.mesh import isolated_changes
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.weights import MorePods
from splithorizon.traffic.proxy import Proxy


def test_clusters_have_two_and_four_pods_while_batches_are_sent(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[Route, dict[str, int]] = {}

    def batch(change: MorePods, route: Route) -> Route:
        seen[route] = pods(change.mesh)
        return route

    monkeypatch.setattr(MorePods, "_batch", batch)
    monkeypatch.setattr(Proxy, "draining", 0)
    change = MorePods(mesh)
    with ExitStack() as undo:
        isolated_changes.make_all(mesh, [change], undo)
    assert seen == {route: {"primary": 2, "remote": 4} for route in mesh.routes}
    assert [*change.seen] == [*mesh.routes]
    assert pods(mesh) == {"primary": 1, "remote": 1}


def pods(mesh: Mesh) -> dict[str, int]:
    return {cluster.name: len(cluster.helloworld_pods) for cluster in mesh}
