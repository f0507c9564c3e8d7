"""A small API server, and the primary that a client of ours takes it for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from splithorizon.base import clock
from splithorizon.kube.client import Kube
from tests.support.small_api import SmallApi, small_api


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of real engines install and start things: they are run where ``-m`` names them, and nowhere else."""
    if re.search(r"\bengine\b", config.getoption("markexpr")):
        return
    if left_out := [item for item in items if item.get_closest_marker("engine")]:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True)
def the_clusters_clock_is_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an API server of another test said of the time is forgotten."""
    monkeypatch.setattr(clock, "_difference", timedelta())


@pytest.fixture
def api(tmp_path: Path) -> Iterator[SmallApi]:
    """It holds nothing yet; a module whose tests find something there says so in a fixture of this name."""
    with small_api(tmp_path / "primary.kubeconfig") as server:
        yield server


@pytest.fixture
def kube(api: SmallApi, tmp_path: Path) -> Kube:  # the server has to be there
    """A client of it."""
    return Kube(tmp_path / "primary.kubeconfig", "primary")
