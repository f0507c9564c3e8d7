"""Which clusters a fault is injected into, and manifests with the version that the far one runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from proof import targets
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.paths import MANIFESTS
from splithorizon.mesh.mesh import Mesh
from tests.support.mesh_info import mesh_info


def mesh_of(tmp_path: Path, shape: dict[str, tuple[str, str]]) -> Mesh:
    """A mesh by the network and the control plane of each cluster."""
    known = mesh_info(tmp_path)
    clusters = {
        name: replace(
            known.clusters["primary"], name=name, network=network, control_plane=manager, version=f"v{number}"
        )
        for number, (name, (network, manager)) in enumerate(shape.items(), start=1)
    }
    return Mesh(replace(known, clusters=clusters))


THREE = {"cluster1": ("one", "cluster1"), "cluster2": ("one", "cluster1"), "cluster3": ("two", "cluster3")}


def test_of_three_clusters_the_one_alone_on_its_network_is_broken(tmp_path: Path) -> None:
    mesh = mesh_of(tmp_path, THREE)
    assert (targets.watching(mesh).name, targets.watched(mesh).name) == ("cluster1", "cluster3")
    assert (targets.managing(mesh).name, targets.managed(mesh).name) == ("cluster1", "cluster2")


def test_a_fault_of_a_managed_cluster_is_not_made_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentBroke, match="no clusters that the fault could break"):
        targets.managed(mesh_of(tmp_path, {"a": ("one", "a"), "b": ("two", "b")}))


@pytest.mark.parametrize("name", ["forwarder", "gateway-bypassed", "mutual-tls-disabled-far", "workload-entry-counts"])
def test_a_manifest_gets_the_version_of_the_far_cluster(tmp_path: Path, name: str) -> None:
    mesh = mesh_of(tmp_path, THREE)
    documents = str(targets.with_far_version(MANIFESTS / "faults" / f"{name}.yaml", targets.watched(mesh)))
    assert "helloworld-v3" in documents or "'version': 'v3'" in documents
    assert "helloworld-v2" not in documents
    assert "'version': 'v2'" not in documents
    assert "istio/proxyv2" in documents or name in ("mutual-tls-disabled-far", "workload-entry-counts")
