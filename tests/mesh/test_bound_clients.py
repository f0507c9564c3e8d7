"""A rule in one of several primaries: where it is applied, whose clients are waited for, and whose replies are kept."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from splithorizon.base import timeouts
from splithorizon.mesh import bound_clients
from splithorizon.mesh.mesh import Mesh
from tests.support.existing_mesh import TwoClusters, answers, installed_mesh
from tests.support.mesh_info import mesh_info

RULE = "VirtualService"


def two_primaries(clusters: TwoClusters, folder: Path) -> Mesh:
    """The mesh of two small API servers, as one in which each cluster runs istiod."""
    run = clusters.run(folder, "run", owned=True)
    info = mesh_info(run.folder)
    return Mesh(replace(info, clusters={name: replace(one, control_plane=name) for name, one in info.clusters.items()}))


def test_the_rule_is_in_one_primary_alone_while_every_client_sends(tmp_path: Path) -> None:
    with installed_mesh(tmp_path) as clusters:
        mesh = two_primaries(clusters, tmp_path / "runs")
        first, _ = mesh.config_clusters
        rules: list[list[int]] = []

        def answering(cluster: str, _: str) -> tuple[str, ...]:
            rules.append([len(api.kept(RULE, "sample")) for api in clusters.apis.values()])
            # A client that a rule answers gets nothing of helloworld.
            return () if cluster == "primary" else ("v1", "v2")

        answers(clusters, answering)
        with ExitStack() as undo, timeouts.shortened(0.001):
            found = bound_clients.bind(mesh, first, undo, times=10)
        assert [one["metadata"]["name"] for api in clusters.apis.values() for one in api.kept(RULE, "sample")] == []
    assert (found.primary, found.managed) == ("primary", frozenset({"primary"}))
    assert {tuple(counts) for counts in rules} == {(1, 0)}
    assert {name: {one.status for one in replies} for name, replies in found.replies.items()} == {
        "primary": {503},
        "remote": {200},
    }
    assert {len(replies) for replies in found.replies.values()} == {10}
