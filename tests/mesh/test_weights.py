"""Which version has how many pods while a batch is sent, and afterwards."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from splithorizon.istio.topology import Route
from splithorizon.mesh import weights
from splithorizon.mesh.mesh import Mesh


def test_the_far_version_alone_has_three_pods_while_a_batch_is_sent(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[Route, dict[str, int]] = {}

    def batch(mesh: Mesh, route: Route) -> None:
        seen[route] = pods(mesh)

    monkeypatch.setattr(weights, "_batch", batch)
    with ExitStack() as undo:
        assert [*weights.measure(mesh, undo)] == [*mesh.routes]
    assert {(route.near, route.far): counts for route, counts in seen.items()} == {
        ("primary", "remote"): {"primary": 1, "remote": 3},
        ("remote", "primary"): {"primary": 3, "remote": 1},
    }
    assert pods(mesh) == {"primary": 1, "remote": 1}


def pods(mesh: Mesh) -> dict[str, int]:
    return {cluster.name: len(cluster.helloworld_pods) for cluster in mesh}
