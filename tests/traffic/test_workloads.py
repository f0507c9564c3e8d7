"""The images of the workloads in an existing mesh, and what runs a version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from splithorizon.base.paths import MANIFESTS
from splithorizon.kube import manifests
from splithorizon.kube.client import Kube
from splithorizon.traffic import workloads
from splithorizon.traffic.workloads import Adaptation
from tests.support.small_api import small_api, write_kubeconfig

CURL = "curlimages/curl:"


@pytest.mark.parametrize(
    ("held", "used"),
    [
        # An older one lacks options, and a node that has it need not be the one that runs the pod.
        ("mirror.example/curlimages/curl:8.0.0", False),
        ("mirror.example/curlimages/curl:8.16.0", True),
        ("mirror.example/hub/curlimages/curl:8.16.0", True),
        ("splithorizon.local/curl:8.16.0", True),
        ("registry.example/tools/curl:minimal", False),
        ("mirror.example/curlimages/curl@sha256:0123", False),
    ],
)
def test_an_image_of_a_node_is_used_if_it_is_the_same(tmp_path: Path, held: str, used: bool) -> None:
    with small_api(tmp_path / "kubeconfig") as api:
        write_kubeconfig(tmp_path / "kubeconfig", api.url)
        api.objects["/api/v1/nodes"] = {
            "items": [{"status": {"images": [{"names": None}, {}, {"names": [held]}]}}, {"status": {}}]
        }
        images = workloads.images_for(Kube(tmp_path / "kubeconfig", "primary"), "v1", None)
    (curl,) = (image for published, image in images.items() if CURL in published)
    assert (curl == held) is used
    assert all("helloworld" in image for published, image in images.items() if CURL not in published)


def test_the_users_hub_takes_precedence_over_images_of_nodes(tmp_path: Path) -> None:
    images = workloads.images_for(Kube(tmp_path / "kubeconfig", "primary"), "v1", "registry.example/mine")
    assert all(image.startswith("registry.example/mine/") for image in images.values())


@pytest.mark.parametrize(
    ("held", "found"),
    [
        ("splithorizon.local/sender:1.0", "splithorizon.local/sender:1.0"),
        ("mirror.example/other/sender:1.0", ""),
        ("splithorizon.local/sender@sha256:01", ""),
        ("splithorizon.local/helloworld:1.0", ""),
    ],
)
def test_the_senders_image_is_the_named_one_or_that_of_the_nodes(held: str, found: str, tmp_path: Path) -> None:
    with small_api(tmp_path / "kubeconfig") as api:
        api.objects["/api/v1/nodes"] = {"items": [{"status": {"images": [{"names": [held]}]}}]}
        kube = Kube(tmp_path / "kubeconfig", "primary")
        assert workloads.sender_image(kube) == found
        assert workloads.sender_image(kube, {"sender": "mine/sender:2"}) == "mine/sender:2"


def test_a_named_image_takes_precedence_over_a_hub(tmp_path: Path) -> None:
    kube = Kube(tmp_path / "kubeconfig", "primary")
    named = {"curl": "mine/curl@sha256:0123", "helloworld-v2": "of-the-other-cluster"}
    images = workloads.images_for(kube, "v1", "registry.example/mine", named)
    (curl,) = (image for published, image in images.items() if CURL in published)
    assert curl == "mine/curl@sha256:0123"
    (helloworld,) = (image for published, image in images.items() if CURL not in published)
    assert helloworld.startswith("registry.example/mine/")


def deployed(tmp_path: Path, adapted: Adaptation, **more: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """What is in a small cluster after a deployment, by kind and name."""
    with small_api(tmp_path / "kubeconfig") as api:
        api.versioned = True
        Kube(tmp_path / "kubeconfig", "primary").apply(
            workloads.fitted("v1", {}, namespace="ours", adapted=adapted, **more)
        )
        return {(one["kind"], one["metadata"]["name"]): one for one in api.objects.values()}


def test_workloads_meet_pod_security_restricted_and_have_requests_and_limits(tmp_path: Path) -> None:
    for (kind, name), found in deployed(tmp_path, Adaptation()).items():
        if kind != "Deployment":
            continue
        spec = found["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert (
                container["resources"]["requests"].keys()
                == container["resources"]["limits"].keys()
                == {"cpu", "memory"}
            )


def test_workloads_fit_into_a_cluster_of_others(tmp_path: Path) -> None:
    overlay = {
        "metadata": {"labels": {"team": "mesh"}},
        "spec": {
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "sleep", "resources": {"limits": {"cpu": "2"}}}],
        },
    }
    adapted = Adaptation({"networking.istio.io/exportTo": "."}, ("registry",), overlay, names_user=False)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry"}}
    found = deployed(tmp_path, adapted, first=[secret])
    assert found["Secret", "registry"]["metadata"]["namespace"] == "ours"
    for name in ("sleep", "helloworld-v1"):
        template = found["Deployment", name]["spec"]["template"]
        assert template["metadata"]["labels"]["team"] == "mesh"
        assert template["spec"]["imagePullSecrets"] == [{"name": "registry"}]
        assert template["spec"]["tolerations"] == [{"operator": "Exists"}]
        assert "runAsUser" not in template["spec"]["securityContext"]
        (container,) = template["spec"]["containers"]
        assert container["resources"]["limits"]["cpu"] == ("2" if name == "sleep" else "1")
        assert container["image"]
    assert found["Service", "helloworld"]["metadata"]["annotations"] == {"networking.istio.io/exportTo": "."}


def test_a_version_with_a_file_is_that_file() -> None:
    assert workloads.helloworld_manifests("v2") == manifests.load(MANIFESTS / "workloads" / "helloworld-v2.yaml")


def test_a_version_without_a_file_is_the_first_ones_program_under_another_version() -> None:
    deployment, service = workloads.helloworld_manifests("v3")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "SERVICE_VERSION", "value": "v3"}]
    assert container["image"] == "istio/examples-helloworld-v1:1.0"
    for document in (deployment, service):
        assert document["metadata"]["name"] == "helloworld-v3"
        assert document["metadata"]["labels"] == {"app": "helloworld", "version": "v3"}
    labels = {"app": "helloworld", "version": "v3"}
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    assert deployment["spec"]["template"]["metadata"]["labels"] == labels
    assert "v3" not in str(manifests.load(MANIFESTS / "workloads" / "helloworld-v1.yaml")), "a copy was changed"


def test_every_cluster_has_a_service_for_new_connections_to_each_version(tmp_path: Path) -> None:
    found = deployed(tmp_path, Adaptation(), versions=("v1", "v2", "v3"))
    services = {name: one for (kind, name), one in found.items() if name.startswith("new-connections")}
    assert [*services] == ["new-connections-v1", "new-connections-v2", "new-connections-v3"]
    for version, one in zip(("v1", "v2", "v3"), services.values(), strict=True):
        assert one["spec"]["selector"] == {"app": "helloworld", "version": version}
        assert one["metadata"]["namespace"] == "ours"
