"""Where the workloads' images come from in a cluster of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from splithorizon.kube.client import Kube
from splithorizon.traffic import workloads
from tests.support.small_api import small_api, write_kubeconfig

CURL = "curlimages/curl:"


@pytest.mark.parametrize(
    ("held", "taken"),
    [
        ("mirror.example/curlimages/curl:8.0.0", True),
        ("mirror.example/hub/curlimages/curl:8.16.0", True),
        ("splithorizon.local/curl:8.16.0", True),
        ("registry.example/tools/curl:minimal", False),
        ("mirror.example/curlimages/curl@sha256:0123", False),
    ],
)
def test_an_image_that_nodes_hold_is_taken_where_it_is_the_same(tmp_path: Path, held: str, taken: bool) -> None:
    with small_api(tmp_path / "kubeconfig") as api:
        write_kubeconfig(tmp_path / "kubeconfig", api.url)
        api.objects["/api/v1/nodes"] = {"items": [{"status": {"images": [{"names": [held]}]}}, {"status": {}}]}
        found = workloads.images_for(Kube(tmp_path / "kubeconfig", "primary"), "v1", None)
    (curl,) = (used for published, used in found.items() if CURL in published)
    assert (curl == held) is taken
    assert all("helloworld" in used for published, used in found.items() if CURL not in published)


def test_a_hub_of_the_users_own_comes_before_what_nodes_hold(tmp_path: Path) -> None:
    found = workloads.images_for(Kube(tmp_path / "kubeconfig", "primary"), "v1", "registry.example/mine")
    assert all(used.startswith("registry.example/mine/") for used in found.values())
