"""A command that a check gives is told so that it can be run as it stands, on the mesh that was looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from splithorizon import by_hand
from splithorizon.mesh.facts import MeshFacts, Selection
from splithorizon.topology import Role
from tests.test_facts import facts


def elsewhere(folder: Path, role: Role, *, revision: str = "", **otherwise: Any) -> MeshFacts:
    """A mesh of others: its contexts are called after their place, and one cluster is otherwise than ours."""
    known = facts(folder)
    places = {Role.PRIMARY: "west", Role.REMOTE: "east"}
    clusters = {one: replace(known.clusters[one], kubectl=f"kubectl --context {places[one]}") for one in Role}
    clusters[role] = replace(clusters[role], **otherwise)
    return replace(known, clusters=clusters, namespace="splithorizon-1", revision=revision)


def test_of_our_own_mesh_by_its_kubeconfig(tmp_path: Path) -> None:
    told = by_hand.told(by_hand.gateway_listeners_of(Role.REMOTE), facts(tmp_path))
    assert told == (
        f"istioctl --kubeconfig {tmp_path}/remote.kubeconfig proxy-config listeners "
        "deploy/istio-eastwestgateway -n istio-system --port 15443"
    )


def test_of_a_mesh_of_others_by_its_context_and_in_our_namespace(tmp_path: Path) -> None:
    mesh = elsewhere(tmp_path, Role.REMOTE)
    assert by_hand.told(by_hand.logs_of(Role.PRIMARY), mesh).startswith(
        "kubectl --context west -n splithorizon-1 logs "
    )
    told = by_hand.told(by_hand.endpoints_of(Role.REMOTE), mesh)
    assert told.startswith("istioctl --context east proxy-config endpoints deploy/sleep -n splithorizon-1 ")
    assert "||helloworld.splithorizon-1.svc.cluster.local'" in told


def test_where_the_system_lies_elsewhere_in_one_cluster(tmp_path: Path) -> None:
    mesh = elsewhere(tmp_path, Role.REMOTE, system_namespace="mesh-system")
    ask = "kubectl --context {} -n istio-system get endpointslices".format
    assert by_hand.told(ask("remote"), mesh) == "kubectl --context east -n mesh-system get endpointslices"
    assert by_hand.told(ask("primary"), mesh) == "kubectl --context west -n istio-system get endpointslices"
    assert by_hand.told("istioctl --context remote proxy-status", mesh) == (
        "istioctl --context east --istioNamespace mesh-system proxy-status"
    )


def test_a_gateway_of_another_name_is_found_by_its_labels(tmp_path: Path) -> None:
    mesh = elsewhere(tmp_path, Role.REMOTE, gateway_pods=(Selection("edge", "app=gw,tier=a"),))
    assert by_hand.told(by_hand.gateway_listeners_of(Role.REMOTE), mesh) == (
        "istioctl --context east proxy-config listeners "
        '"$(kubectl --context east -n edge get pods -l app=gw,tier=a -o name | head -n 1)" -n edge --port 15443'
    )


@pytest.mark.parametrize(
    ("revision", "asked"), [("", ""), ("default", ""), ("1-29", " --revision 1-29")], ids=["none", "default", "named"]
)
@pytest.mark.parametrize("what", ["remote-clusters", "proxy-status", "x internal-debug networkz"])
def test_the_istiod_of_the_meshs_revision_is_asked(tmp_path: Path, revision: str, asked: str, what: str) -> None:
    told = by_hand.told(f"istioctl --context primary {what}", elsewhere(tmp_path, Role.REMOTE, revision=revision))
    assert told == f"istioctl --context west {what}{asked}"


def test_what_is_no_command_stays_as_it_is(tmp_path: Path) -> None:
    mesh = elsewhere(tmp_path, Role.REMOTE, system_namespace="mesh-system", revision="1-29")
    said = "seen: 3 samples in istio-system of the remote\nlikely: proxy-status says it"
    assert by_hand.told(f"{said}\n  try:      kubectl --context remote get pods -n sample", mesh) == (
        f"{said}\n  try:      kubectl --context east get pods -n splithorizon-1"
    )
