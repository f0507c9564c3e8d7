"""A command that a check gives is told so that it can be run as it stands, on the mesh that was looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from splithorizon.checks import next_steps
from splithorizon.istio.info import ExternalIstiod, MeshInfo, Selection
from splithorizon.kube import kubeconfig
from tests.support.mesh_info import mesh_info


def elsewhere(folder: Path, role: str, *, revision: str = "", **otherwise: Any) -> MeshInfo:
    """A mesh of others: its contexts are called after their place, and one cluster is otherwise than ours."""
    known = mesh_info(folder)
    places = {"primary": "west", "remote": "east"}
    clusters = {one: replace(known.clusters[one], kubectl=f"kubectl --context {places[one]}") for one in places}
    clusters[role] = replace(clusters[role], **otherwise)
    return replace(known, clusters=clusters, namespace="splithorizon-1", revision=revision)


def test_of_our_own_mesh_by_its_kubeconfig(tmp_path: Path) -> None:
    told = next_steps.render(next_steps.gateway_listeners_of("remote"), mesh_info(tmp_path))
    assert told == (
        f"istioctl --kubeconfig {tmp_path}/remote.kubeconfig proxy-config listeners "
        "deploy/istio-eastwestgateway -n istio-system --port 15443"
    )


def test_of_a_mesh_of_others_by_its_context_and_in_our_namespace(tmp_path: Path) -> None:
    mesh = elsewhere(tmp_path, "remote")
    assert next_steps.render(next_steps.logs_of("primary"), mesh).startswith(
        "kubectl --context west -n splithorizon-1 logs "
    )
    told = next_steps.render(next_steps.endpoints_of("remote"), mesh)
    assert told.startswith("istioctl --context east proxy-config endpoints deploy/sleep -n splithorizon-1 ")
    assert "||helloworld.splithorizon-1.svc.cluster.local'" in told


def test_where_the_system_lies_elsewhere_in_one_cluster(tmp_path: Path) -> None:
    mesh = elsewhere(tmp_path, "remote", system_namespace="mesh-system")
    ask = "kubectl <{0}> -n <{0} system> get endpointslices".format
    assert next_steps.render(ask("remote"), mesh) == "kubectl --context east -n mesh-system get endpointslices"
    assert next_steps.render(ask("primary"), mesh) == "kubectl --context west -n istio-system get endpointslices"
    assert next_steps.render("istioctl <remote> proxy-status", mesh) == (
        "istioctl --context east --istioNamespace mesh-system proxy-status"
    )


def test_helloworld_is_asked_by_the_version_that_the_cluster_runs(tmp_path: Path) -> None:
    told = next_steps.render(
        "istioctl <remote> proxy-config secret <remote helloworld> -n <namespace>", mesh_info(tmp_path)
    )
    assert told.endswith("proxy-config secret deploy/helloworld-v2 -n sample")


def test_a_gateway_of_another_name_is_found_by_its_labels(tmp_path: Path) -> None:
    gateways = (Selection("istio-system", "app=gw,tier=a"),)
    mesh = elsewhere(tmp_path, "remote", system_namespace="istiod", gateway_pods=gateways)
    assert next_steps.render(next_steps.gateway_listeners_of("remote"), mesh) == (
        "istioctl --context east --istioNamespace istiod proxy-config listeners "
        '"$(kubectl --context east -n istio-system get pods -l app=gw,tier=a -o name | head -n 1)" '
        "-n istio-system --port 15443"
    )


def test_a_clusters_istiod_and_its_rules_are_asked_where_they_are(tmp_path: Path) -> None:
    mesh = elsewhere(tmp_path, "primary", system_namespace="istiod")
    template = "kubectl <istiod of {0}> -n <istiod of {0} system> get secrets".format
    asked = "kubectl --context west -n istiod get secrets"
    assert [next_steps.render(template(name), mesh) for name in ("primary", "remote")] == [asked, asked]
    rules = next_steps.render("kubectl <config of remote> get virtualservices -A", mesh)
    assert rules == "kubectl --context west get virtualservices -A"


@pytest.mark.parametrize("name", ["east.example_1", "gke_project_zone"])
def test_any_name_of_a_cluster_is_found(tmp_path: Path, name: str) -> None:
    known = mesh_info(tmp_path)
    cluster = replace(known.clusters["primary"], name=name, control_plane=name, kubectl="kubectl --context x")
    told = next_steps.render(next_steps.logs_of(name), replace(known, clusters={name: cluster}))
    assert told.startswith("kubectl --context x -n sample logs")


@pytest.mark.parametrize(
    ("revision", "asked"), [("", ""), ("default", ""), ("1-29", " --revision 1-29")], ids=["none", "default", "named"]
)
def test_the_istiod_of_the_meshs_revision_is_asked(tmp_path: Path, revision: str, asked: str) -> None:
    told = next_steps.render(next_steps.remote_clusters_of("remote"), elsewhere(tmp_path, "remote", revision=revision))
    assert told == f"istioctl --context west remote-clusters{asked}"


@pytest.mark.parametrize(
    "said",
    [
        "kubectl --context primary-eu -n istio-system-canary describe pod istiod-1",
        "kubectl --context remote -n sample --kubeconfig /mesh.sample.yaml get pods",
        "seen: 3 samples in istio-system of the remote, <unknown>",
        "kubectl <third> get pods, kubectl <istiod of third> -n <third system> get pods",
    ],
)
def test_what_is_real_already_stays_as_it_is(tmp_path: Path, said: str) -> None:
    mesh = elsewhere(tmp_path, "remote", system_namespace="mesh-system", revision="1-29")
    assert next_steps.render(said, mesh) == said


@pytest.mark.parametrize(
    ("file", "context", "asked"),
    [
        (Path("/a b/c"), "", "kubectl --kubeconfig '/a b/c'"),
        (None, "gke_x;y", "kubectl --context 'gke_x;y'"),
        (Path("/c"), "east", "kubectl --kubeconfig /c --context east"),
    ],
)
def test_a_shell_takes_the_names_as_they_are(file: Path | None, context: str, asked: str) -> None:
    assert kubeconfig.kubectl(file, context) == asked


def test_an_external_istiod_is_asked_in_the_cluster_that_runs_it_and_its_rules_where_it_reads_them(
    tmp_path: Path,
) -> None:
    external = ExternalIstiod("north", tmp_path / "north", "kubectl --context north")
    mesh = elsewhere(tmp_path, "primary", external_istiod=external, kubectl="kubectl --context west")
    assert next_steps.render("kubectl <istiod of remote> -n <istiod of remote system> get pods", mesh) == (
        "kubectl --context north -n istio-system get pods"
    )
    assert next_steps.render("kubectl <config of remote> get sidecars", mesh) == "kubectl --context west get sidecars"
    assert next_steps.render("kubectl <secrets of remote> apply", mesh) == "kubectl --context west apply"
    there = elsewhere(tmp_path, "primary", external_istiod=replace(external, holds_secrets=True))
    assert next_steps.render("kubectl <secrets of remote> apply", there) == "kubectl --context north apply"


def test_of_a_cluster_without_a_gateway_that_of_its_network_is_asked_where_it_is(tmp_path: Path) -> None:
    known = mesh_info(tmp_path)
    primary = replace(known.clusters["primary"], gateway_pods=(), network=known.clusters["remote"].network)
    mesh = replace(known, clusters={"primary": primary, "remote": known.clusters["remote"]})
    told = next_steps.render(next_steps.gateway_listeners_of("primary"), mesh)
    assert told == next_steps.render(next_steps.gateway_listeners_of("remote"), mesh)
    assert f"--kubeconfig {tmp_path}/remote.kubeconfig " in told
    alone = replace(known, clusters={"primary": primary})
    assert f"--kubeconfig {tmp_path}/primary.kubeconfig " in next_steps.render(
        next_steps.gateway_listeners_of("primary"), alone
    )
