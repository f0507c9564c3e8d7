"""Missing rights are known before anything is created: one list that refuses the run, or behaviours not claimed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from splithorizon.base.errors import UsageProblem
from splithorizon.istio import discover
from splithorizon.istio.info import MeshInfo
from splithorizon.istio.names import SYSTEM_NAMESPACE
from splithorizon.run import permissions
from tests.support import user_rights
from tests.support.existing_mesh import CONTEXTS, TwoClusters, installed_mesh

NAMESPACE = "splithorizon-run"


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[TwoClusters]:
    with installed_mesh(tmp_path, workloads_in=NAMESPACE) as clusters:
        yield clusters


class Asked:
    """What a run is answered that asks for its rights, as a run does."""

    def __init__(self, mesh: TwoClusters, *, disrupts: bool = False) -> None:
        self.lines: list[str] = []
        self.info: MeshInfo | None = None
        self.limited: dict[str, str] = {}
        self.refused = ""
        kubes = mesh.kubes()
        try:
            asked = permissions.Asked(disrupts)
            permissions.require_readable(kubes, CONTEXTS, asked, say=self.lines.append)
            self.info = discover.read_mesh(kubes, CONTEXTS, namespace=NAMESPACE)
            self.limited = permissions.check(kubes, self.info, asked, say=self.lines.append)
        except UsageProblem as problem:
            self.refused = str(problem)
        for api in mesh.apis.values():
            assert [method for method, *_ in api.asked if method != "GET"] == []


@pytest.mark.parametrize("disrupts", [False, True], ids=["a run", "a run that disrupts"])
def test_the_roles_that_are_printed_leave_nothing_out(mesh: TwoClusters, disrupts: bool) -> None:
    for api in mesh.apis.values():
        api.denies = user_rights.denies(system_namespace=SYSTEM_NAMESPACE, disruption=disrupts)
    asked = Asked(mesh, disrupts=disrupts)
    assert (asked.refused, asked.limited, asked.lines) == ("", {}, [])
    assert mesh.remote.reviewed


def test_without_any_right_one_list_has_them_all_and_no_mesh_is_read(mesh: TwoClusters) -> None:
    for api in mesh.apis.values():
        api.denies = lambda attributes: "selfsubject" not in attributes.get("resource", "")
    refused = Asked(mesh).refused
    assert refused.startswith("the users of --contexts lack ")
    assert refused.endswith("`splithorizon rbac` prints the roles that would do, for `kubectl apply -f -`. "
                            "Nothing was created.")  # fmt: skip
    for line in (
        "  east: create namespaces in all namespaces: the run's own namespace",
        "  west: list pods in all namespaces: istiod, the gateways' pods, addresses that both networks use",
        "  east: get pods/exec in splithorizon: requests from the client, and what its sidecar holds",
        "  east: list secrets in istio-system: the remote secrets",
        "  east: create telemetries.telemetry.istio.io in splithorizon: the access log of the run's own sidecars",
    ):
        assert line in refused.splitlines()
    assert not [line for line in refused.splitlines() if line.startswith("  west: ") and "telemetries" in line]
    assert "leases" not in refused
    # Nobody has read the clusters further than to know their version.
    assert {path for api in mesh.apis.values() for _, path, *_ in api.asked} == {"/version"}


def test_a_right_that_only_the_found_mesh_asks_for_refuses_too(mesh: TwoClusters) -> None:
    mesh.remote.denies = user_rights.without("pods/exec")
    refused = Asked(mesh).refused
    assert f"  west: get pods/exec in {NAMESPACE}: requests from the client, and what its sidecar holds" in refused
    assert "  east: " not in refused


def test_a_run_that_disrupts_needs_more(mesh: TwoClusters) -> None:
    for api in mesh.apis.values():
        api.denies = user_rights.denies(system_namespace=SYSTEM_NAMESPACE)
    assert Asked(mesh).refused == ""
    refused = Asked(mesh, disrupts=True).refused
    assert "`splithorizon rbac --allow-disruption` prints the roles" in refused
    for line in ("create secrets in istio-system", "patch configmaps in istio-system",
                 "patch services/status in istio-system", "create leases.coordination.k8s.io"):  # fmt: skip
        assert f"  west: {line}" in refused


GATEWAYS_PORT = {
    "test_gateway_knows_only_its_services",
    "test_one_root_is_served_by_both_gateways",
    "test_strangers_are_refused",
}
WATCHED = {"test_every_cluster_is_watched", "test_networks_are_named_alike_everywhere"}
ISTIODS_ADDRESS = {
    "test_new_pods_are_injected",
    "test_new_proxies_reach_istiod",
    "test_remote_finds_istiod_behind_the_gateway",
    "test_served_chains_last",
}


def in_namespace(namespace: str, resource: str) -> Callable[[user_rights.Attributes], bool]:
    denied = user_rights.without(resource)
    return lambda attributes: denied(attributes) and attributes.get("namespace") == namespace


LIMITS = {
    "secrets": (in_namespace(SYSTEM_NAMESPACE, "secrets"), WATCHED | {"test_remote_credentials_last"}),
    "exec beside istiod and gateways": (
        in_namespace(SYSTEM_NAMESPACE, "pods/exec"),
        WATCHED
        | {
            "test_every_proxy_is_synced",
            "test_proxy_versions_are_supported",
            "test_gateway_passes_to_its_own_pods",
            "test_served_chains_last",
            "test_workloads_are_known_by_their_own_certificates",
        },
    ),
    "port-forward": (in_namespace(SYSTEM_NAMESPACE, "pods/portforward"), GATEWAYS_PORT),
    "gateways' logs": (in_namespace(SYSTEM_NAMESPACE, "pods/log"), {"test_each_hop_of_a_far_answer_is_logged"}),
    "routes": (
        user_rights.without("virtualservices"),
        {"test_a_rule_binds_the_clients_of_its_own_primary", "test_subsets_keep_clients_in_their_cluster"},
    ),
    "pods": (
        user_rights.without("pods", verbs=("create",)),
        {"test_new_pods_are_injected", "test_plain_text_is_refused"},
    ),
    "where Services lead": (in_namespace(SYSTEM_NAMESPACE, "endpointslices"), ISTIODS_ADDRESS),
}


@pytest.mark.parametrize("name", LIMITS)
def test_what_a_missing_right_only_limits_is_not_claimed_with_the_reason(name: str, mesh: TwoClusters) -> None:
    denies, behaviours = LIMITS[name]
    mesh.primary.denies = denies
    asked = Asked(mesh)
    assert (asked.refused, {*asked.limited}) == ("", behaviours)
    for reason in asked.limited.values():
        assert reason.startswith("the user of context east may not ")
        assert reason.endswith(" (see `splithorizon rbac`)")


def test_nodes_and_leases_are_not_needed_and_their_lack_is_said(mesh: TwoClusters) -> None:
    mesh.remote.denies = user_rights.without("nodes", "leases")
    asked = Asked(mesh)
    assert (asked.refused, asked.limited) == ("", {})
    assert [line for line in asked.lines if "the report does not have the ranges of the pods' addresses" in line]
    assert [
        line for line in asked.lines if "another run that changes the mesh at the same time is not detected" in line
    ]
    assert asked.info is not None
    assert asked.info.clusters["primary"].pod_subnet
    assert asked.info.clusters["remote"].pod_subnet == ""


def test_without_secrets_the_webhooks_say_the_remotes_id(mesh: TwoClusters) -> None:
    mesh.primary.denies = user_rights.without("secrets")
    mesh.remote.denies = in_namespace("kube-system", "configmaps")
    asked = Asked(mesh)
    assert asked.info is not None
    assert asked.info.clusters["remote"].cluster_id == "remote"


def test_a_cluster_that_answers_no_such_question_is_taken_as_it_is(mesh: TwoClusters) -> None:
    mesh.remote.denies = user_rights.without("selfsubjectaccessreviews")
    asked = Asked(mesh)
    assert (asked.refused, asked.limited) == ("", {})
    assert [line for line in asked.lines if line.startswith("west: this user may not ask for its rights")]


@pytest.mark.parametrize(("version", "asks"), [("v1.34.4", False), ("v1.35.0-gke.1", True)])
def test_a_websocket_takes_two_verbs_from_kubernetes_1_35_on(mesh: TwoClusters, version: str, asks: bool) -> None:
    for api in mesh.apis.values():
        api.answers["/version"] = (200, f'{{"gitVersion": "{version}"}}'.encode())
        api.denies = user_rights.without("pods/exec", verbs=("create",))
    assert ("create pods/exec" in Asked(mesh).refused) is asks
