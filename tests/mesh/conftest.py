"""Two clusters of small API servers with an installed mesh, and a run that owns it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splithorizon.mesh.mesh import Mesh
from tests.support.existing_mesh import TwoClusters, installed_mesh
from tests.support.mesh_info import mesh_info


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[TwoClusters]:
    with installed_mesh(tmp_path) as made:
        yield made


@pytest.fixture
def mesh(clusters: TwoClusters, tmp_path: Path) -> Mesh:
    return Mesh(mesh_info(clusters.run(tmp_path / "runs", "run", owned=True).folder))
