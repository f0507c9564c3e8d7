"""A command that a check gives is told so that it can be run as it stands, on the mesh that was looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from splithorizon.checks import next_steps
from splithorizon.istio.info import MeshInfo, Selection
from splithorizon.istio.topology import Role
from splithorizon.kube import kubeconfig
from tests.support.mesh_info import mesh_info


def elsewhere(folder: Path, role: Role, *, revision: str = "", **otherwise: Any) -> MeshInfo:
    """A mesh of others: its contexts are called after their place, and one cluster is otherwise than ours."""
    known = mesh_info(folder)
    places = {Role.PRIMARY: "west", Role.REMOTE: "east"}
    clusters = {one: replace(known.clusters[one], kubectl=f"kubectl --context {places[one]}") for one in Role}
    clusters[role] = replace(clusters[role], **otherwise)
    return replace(known, clusters=clusters, namespace="splithorizon-1", revision=revision)


def test_of_our_own_mesh_by_its_kubeconfig(tmp_path: Path) -> None:
    told = next_steps.render(next_steps.gateway_listeners_of(Role.REMOTE), mesh_info(tmp_path))
    assert told == (
        f"istioctl --kubeconfig {tmp_path}/remote.kubeconfig proxy-config listeners "
        "deploy/istio-eastwestgateway -n istio-system --port 15443"
    )


def test_of_a_mesh_of_others_by_its_context_and_in_our_namespace(tmp_path: Path) -> None:
    mesh = elsewhere(tmp_path, Role.REMOTE)
    assert next_steps.render(next_steps.logs_of(Role.PRIMARY), mesh).startswith(
        "kubectl --context west -n splithorizon-1 logs "
    )
    told = next_steps.render(next_steps.endpoints_of(Role.REMOTE), mesh)
    assert told.startswith("istioctl --context east proxy-config endpoints deploy/sleep -n splithorizon-1 ")
    assert "||helloworld.splithorizon-1.svc.cluster.local'" in told


def test_where_the_system_lies_elsewhere_in_one_cluster(tmp_path: Path) -> None:
    mesh = elsewhere(tmp_path, Role.REMOTE, system_namespace="mesh-system")
    ask = "kubectl <{0}> -n <{0} system> get endpointslices".format
    assert next_steps.render(ask("remote"), mesh) == "kubectl --context east -n mesh-system get endpointslices"
    assert next_steps.render(ask("primary"), mesh) == "kubectl --context west -n istio-system get endpointslices"
    assert next_steps.render("istioctl <remote> proxy-status", mesh) == (
        "istioctl --context east --istioNamespace mesh-system proxy-status"
    )


def test_a_gateway_of_another_name_is_found_by_its_labels(tmp_path: Path) -> None:
    gateways = (Selection("istio-system", "app=gw,tier=a"),)
    mesh = elsewhere(tmp_path, Role.REMOTE, system_namespace="istiod", gateway_pods=gateways)
    assert next_steps.render(next_steps.gateway_listeners_of(Role.REMOTE), mesh) == (
        "istioctl --context east --istioNamespace istiod proxy-config listeners "
        '"$(kubectl --context east -n istio-system get pods -l app=gw,tier=a -o name | head -n 1)" '
        "-n istio-system --port 15443"
    )


@pytest.mark.parametrize(
    ("revision", "asked"), [("", ""), ("default", ""), ("1-29", " --revision 1-29")], ids=["none", "default", "named"]
)
def test_the_istiod_of_the_meshs_revision_is_asked(tmp_path: Path, revision: str, asked: str) -> None:
    told = next_steps.render(next_steps.REMOTE_CLUSTERS, elsewhere(tmp_path, Role.REMOTE, revision=revision))
    assert told == f"istioctl --context west remote-clusters{asked}"


@pytest.mark.parametrize(
    "said",
    [
        "kubectl --context primary-eu -n istio-system-canary describe pod istiod-1",
        "kubectl --context remote -n sample --kubeconfig /mesh.sample.yaml get pods",
        "seen: 3 samples in istio-system of the remote, <unknown>",
    ],
)
def test_what_is_real_already_stays_as_it_is(tmp_path: Path, said: str) -> None:
    mesh = elsewhere(tmp_path, Role.REMOTE, system_namespace="mesh-system", revision="1-29")
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
