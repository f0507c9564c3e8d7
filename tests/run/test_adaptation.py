"""What the user says of the run's pods: bad input is refused in one line, before anything is created."""

from __future__ import annotations

from pathlib import Path

import pytest

from splithorizon.base.errors import UsageProblem
from splithorizon.run import adaptation
from splithorizon.run.options import Options
from tests.support.existing_mesh import TwoClusters, two_clusters


def test_labels_are_taken_as_kubernetes_has_them() -> None:
    given = ("istio-discovery=enabled", "corp.example/team=mesh.a_b-c", "empty=")
    assert adaptation.namespace_labels(Options(namespace_label=given)) == {
        "istio-discovery": "enabled", "corp.example/team": "mesh.a_b-c", "empty": "",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["team", "=x", "a b=c", "a=b c", "istio.io/rev=other", "splithorizon.io/run=mine"])
def test_what_is_no_label_or_the_runs_own_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem, match=r"^--namespace-label .*Nothing was created\.$"):
        adaptation.namespace_labels(Options(namespace_label=(text,)))


def test_images_are_named_by_what_they_are() -> None:
    assert adaptation.images(Options(image=("curl=r/c@sha256:1", "helloworld-v1=r/h:1"))) == {
        "curl": "r/c@sha256:1", "helloworld-v1": "r/h:1",
    }  # fmt: skip
    for text in ("curl", "curl=", "nginx=r/n", "=r/c"):
        with pytest.raises(UsageProblem, match="NAME is one of curl, helloworld-v1, helloworld-v2"):
            adaptation.images(Options(image=(text,)))


def test_an_overlay_is_a_patch_for_pods(tmp_path: Path) -> None:
    file = tmp_path / "overlay.yaml"
    file.write_text("spec: {tolerations: [{operator: Exists}], containers: [{name: sleep}]}")
    assert adaptation.overlay(Options(overlay=file))["spec"]["tolerations"] == [{"operator": "Exists"}]
    assert adaptation.overlay(Options()) == {}


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "kind: Deployment",
        "spec: {}\n---\nspec: {}",
        "spec: {containers: [{name: nginx}]}",
        "spec: {containers: [x]}",
    ],
)
def test_what_is_no_patch_for_pods_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "overlay.yaml"
    file.write_text(text)
    with pytest.raises(UsageProblem, match=r"^--overlay .*Nothing was created\.$"):
        adaptation.overlay(Options(overlay=file))
    with pytest.raises(UsageProblem, match=r"^--overlay .*Nothing was created\.$"):
        adaptation.overlay(Options(overlay=tmp_path / "absent.yaml"))


def put(mesh: TwoClusters, **types: str) -> None:
    for cluster, kind in types.items():
        mesh.apis[cluster].put("Secret", "registry", "ci", type=kind, data={".dockerconfigjson": "e30="})


def test_a_pull_secret_is_copied_by_its_name(tmp_path: Path) -> None:
    with two_clusters(tmp_path) as mesh:
        put(mesh, primary="kubernetes.io/dockerconfigjson", remote="kubernetes.io/dockercfg")
        found = adaptation.pull_secret(Options(pull_secret="ci/registry"), mesh.kubes())
        assert {cluster: secret["type"] for cluster, secret in found.items()} == {
            "primary": "kubernetes.io/dockerconfigjson", "remote": "kubernetes.io/dockercfg",
        }  # fmt: skip
        assert found["primary"]["metadata"] == {"name": "registry"}
        assert adaptation.pull_secret(Options(), mesh.kubes()) == {}


def test_a_pull_secret_that_a_cluster_lacks_is_refused(tmp_path: Path) -> None:
    with two_clusters(tmp_path) as mesh:
        put(mesh, primary="kubernetes.io/dockerconfigjson")
        for text, why in (("ci/registry", "the remote has no such Secret"), ("registry", "NAMESPACE/NAME is needed")):
            with pytest.raises(UsageProblem, match=f"^--pull-secret {text}: {why}. Nothing was created"):
                adaptation.pull_secret(Options(pull_secret=text), mesh.kubes())
        put(mesh, remote="Opaque")
        with pytest.raises(UsageProblem, match="the remote's Secret is none for registries"):
            adaptation.pull_secret(Options(pull_secret="ci/registry"), mesh.kubes())
