"""The images of the workloads in an existing mesh."""

from __future__ import annotations

from pathlib import Path

import pytest

from splithorizon.kube.client import Kube
from splithorizon.traffic import workloads
from tests.support.small_api import small_api, write_kubeconfig

CURL = "curlimages/curl:"


@pytest.mark.parametrize(
    ("held", "used"),
    [
        ("mirror.example/curlimages/curl:8.0.0", True),
        ("mirror.example/hub/curlimages/curl:8.16.0", True),
        ("splithorizon.local/curl:8.16.0", True),
        ("registry.example/tools/curl:minimal", False),
        ("mirror.example/curlimages/curl@sha256:0123", False),
    ],
)
def test_an_image_of_a_node_is_used_if_it_is_the_same(tmp_path: Path, held: str, used: bool) -> None:
    with small_api(tmp_path / "kubeconfig") as api:
        write_kubeconfig(tmp_path / "kubeconfig", api.url)
        api.objects["/api/v1/nodes"] = {"items": [{"status": {"images": [{"names": [held]}]}}, {"status": {}}]}
        images = workloads.images_for(Kube(tmp_path / "kubeconfig", "primary"), "v1", None)
    (curl,) = (image for published, image in images.items() if CURL in published)
    assert (curl == held) is used
    assert all("helloworld" in image for published, image in images.items() if CURL not in published)


def test_the_users_hub_takes_precedence_over_images_of_nodes(tmp_path: Path) -> None:
    images = workloads.images_for(Kube(tmp_path / "kubeconfig", "primary"), "v1", "registry.example/mine")
    assert all(image.startswith("registry.example/mine/") for image in images.values())
