"""What a shape of mesh does not claim follows from its clusters, and names the behaviours whose tests ask for it."""

from __future__ import annotations

import ast

from lab import topology
from splithorizon.base.paths import SUITES
from splithorizon.conditions import behaviours, shape
from splithorizon.istio.topology import PRIMARY_REMOTE, PlannedCluster, Topology, Watch, watch_across


def asking_for(*fixtures: str) -> set[str]:
    """The behaviours whose tests take one of these fixtures."""
    return {
        path.stem
        for path in SUITES.rglob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and {*fixtures} & {one.arg for one in node.args.args}
    }


def test_the_groups_are_those_that_ask_for_the_part_of_a_mesh_that_is_not_there() -> None:
    assert asking_for("managed_cluster", "near_gateway") >= {*behaviours.OF_A_MANAGED_CLUSTER}
    assert asking_for("watch", "gateway", "api_server") == {*behaviours.OF_A_WATCH}
    assert asking_for("two_primaries") == {behaviours.OF_AN_ISTIOD_AWAY}
    assert asking_for("watch_beside_another") == {behaviours.OF_A_WATCH_BESIDE_ANOTHER}
    assert asking_for("bound_clients") == {behaviours.OF_SEVERAL_PRIMARIES}


def test_a_primary_and_a_remote_leave_out_what_takes_several_of_one_kind() -> None:
    assert shape.not_claimed(PRIMARY_REMOTE) == {
        behaviours.OF_SEVERAL_PRIMARIES: shape.ONE_PRIMARY,
        behaviours.OF_AN_ISTIOD_AWAY: shape.ONE_ISTIOD,
        behaviours.OF_A_WATCH_BESIDE_ANOTHER: shape.NO_WATCH_BESIDE_ANOTHER,
    }


def test_two_primaries_leave_out_what_is_of_a_managed_cluster() -> None:
    assert shape.not_claimed(topology.read("multi-primary")) == {
        **dict.fromkeys(behaviours.OF_A_MANAGED_CLUSTER, shape.EACH_RUNS_ISTIOD),
        behaviours.OF_A_WATCH_BESIDE_ANOTHER: shape.NO_WATCH_BESIDE_ANOTHER,
    }


def test_three_clusters_claim_everything() -> None:
    assert shape.not_claimed(topology.read("three-clusters")) == {}


def test_where_each_cluster_shares_its_network_no_watch_is_disrupted() -> None:
    def cluster(name: str, network: str, control_plane: str) -> PlannedCluster:
        return PlannedCluster(name, network, control_plane, f"version-of-{name}")

    paired = Topology(
        (cluster("a", "one", "a"), cluster("b", "one", "a"), cluster("c", "two", "c"), cluster("d", "two", "c"))
    )
    found = shape.not_claimed(paired)
    assert found.keys() == {*behaviours.OF_A_WATCH}
    assert {*found.values()} == {"a and b share a network: what a loss of one of their gateways leads to is not judged"}
    assert shape.without_watch(Topology((cluster("a", "one", "a"),))) == shape.NO_WATCH


def test_where_the_watched_gateway_would_not_know_its_own_pods_another_watch_is_disrupted_or_none() -> None:
    a, b = PlannedCluster("a", "one", "a", "v1"), PlannedCluster("b", "two", "a", "v2")
    assert watch_across(Topology((a, b, PlannedCluster("c", "one", "c", "v3")))) == Watch("c", "b")
    assert shape.without_watch(Topology((a, b, PlannedCluster("c", "one", "a", "v3")))) == ""
    external = PlannedCluster("c", "one", "elsewhere", "v3")
    assert shape.without_watch(Topology((a, b, external))).startswith("the istiod of a configures the gateway of b")
