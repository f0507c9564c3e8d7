"""The shape of a mesh follows from names, networks and control planes, in the one shape of now and in others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from splithorizon.istio import topology
from splithorizon.istio.topology import PRIMARY_REMOTE, PlannedCluster, Route, Topology, Watch


def cluster(name: str, network: str, control_plane: str = "") -> PlannedCluster:
    return PlannedCluster(name, network, control_plane or name, f"version-of-{name}")


# Two primaries of one network, and a third cluster on another that the second manages.
THREE = Topology((cluster("a", "one"), cluster("b", "one"), cluster("c", "two", "b")))


def test_a_primary_and_a_remote_have_one_route_each_way() -> None:
    assert PRIMARY_REMOTE.names == ("primary", "remote")
    assert list(map(str, PRIMARY_REMOTE.routes)) == ["primary→remote", "remote→primary"]
    assert all(route.across_networks for route in PRIMARY_REMOTE.routes)
    assert topology.routes_within(PRIMARY_REMOTE) == ()
    assert topology.watches(PRIMARY_REMOTE) == (Watch("primary", "remote"),)


def test_clusters_of_one_network_have_routes_within_it() -> None:
    assert THREE.routes == (Route("a", "c"), Route("b", "c"), Route("c", "a"), Route("c", "b"))
    assert topology.routes_within(THREE) == (Route("a", "b", False), Route("b", "a", False))
    assert THREE.pairs == (*THREE.routes, *topology.routes_within(THREE))
    assert PRIMARY_REMOTE.pairs == PRIMARY_REMOTE.routes


def test_each_istiod_watches_every_other_cluster() -> None:
    assert topology.watches(THREE) == (Watch("a", "b"), Watch("a", "c"), Watch("b", "a"), Watch("b", "c"))


def test_a_cluster_is_found_by_its_name() -> None:
    assert THREE["c"].control_plane == "b"
    with pytest.raises(KeyError):
        THREE["d"]


def test_the_watch_that_is_disrupted_is_of_a_cluster_alone_on_its_network() -> None:
    assert topology.watch_across(PRIMARY_REMOTE) == Watch("primary", "remote")
    assert topology.watch_across(THREE) == Watch("a", "c")
    paired = Topology((*THREE, cluster("d", "two")))
    assert topology.watch_across(paired) == Watch("a", "b"), "where none is alone: the first"
    assert topology.watch_across([cluster("a", "one")]) is None


def test_a_gateway_that_is_configured_by_the_watching_istiod_is_the_last_to_be_disrupted() -> None:
    a, b, c = cluster("a", "one"), cluster("b", "two", "a"), cluster("c", "three")
    assert not topology.configures_a_gateway_of_others(PRIMARY_REMOTE, Watch("primary", "remote"))
    assert topology.configures_a_gateway_of_others([a, b, c], Watch("a", "b"))
    assert topology.watch_across([a, b, c]) == Watch("a", "c")


def test_a_managed_cluster_is_watched_by_the_istiod_that_manages_it() -> None:
    assert topology.watch_of_managed(PRIMARY_REMOTE) == Watch("primary", "remote")
    assert topology.watch_of_managed(THREE) == Watch("b", "c")
    assert topology.watch_of_managed([cluster("a", "one"), cluster("b", "two")]) is None


def test_the_primary_that_is_stopped_has_no_client_on_the_network_of_the_other() -> None:
    assert topology.watch_of_primary(PRIMARY_REMOTE) is None
    assert topology.watch_of_primary(THREE) is None, "a shares its network with b, and so does b's own client"
    two = [cluster("a", "one"), cluster("b", "two")]
    assert topology.watch_of_primary(two) == Watch("a", "b")
    assert topology.watch_of_primary([*two, cluster("c", "two", "a")]) == Watch("b", "a")
    assert topology.watch_of_primary([cluster("d", "one"), *two]) == Watch("d", "b")


def test_a_watch_may_end_where_a_gateway_stays_on_each_other_network() -> None:
    def without_gateway(one: PlannedCluster) -> PlannedCluster:
        return replace(one, has_gateway=False)

    a, b, c = cluster("a", "one"), cluster("b", "two"), cluster("c", "three")
    assert topology.watch_beside_another(PRIMARY_REMOTE) is None
    assert topology.watch_beside_another([a, b]) is None
    assert topology.watch_beside_another([a, b, c]) == Watch("a", "b")
    assert topology.kept_beside([a, b, c], Watch("a", "b")) == "c"
    far_pair = [a, b, cluster("d", "two", "b")]
    assert topology.watch_beside_another(far_pair) == Watch("a", "b")
    assert topology.kept_beside(far_pair, Watch("a", "b")) == "d"
    assert topology.kept_beside([*far_pair, c], Watch("a", "b")) == "d", "that of its own network comes first"
    one_gateway = [a, b, without_gateway(far_pair[-1])]
    assert topology.watch_beside_another(one_gateway) == Watch("a", "d")
    assert topology.kept_beside(one_gateway, Watch("a", "b")) == "", "d is on a network without a gateway then"


def test_a_watch_within_a_network_does_not_end_nor_one_that_leaves_another_client_without_a_gateway() -> None:
    a, b, e = cluster("a", "one"), cluster("b", "one"), cluster("e", "two", "a")
    assert topology.watch_beside_another([a, b, e]) is None
    c = cluster("c", "three")
    assert topology.watch_beside_another([replace(a, has_gateway=False), b, e, c]) == Watch("a", "c")
    assert topology.watch_beside_another([replace(a, has_gateway=False), e, c]) == Watch("c", "a"), "e would need one"


def test_the_watch_of_a_managed_cluster_ends_only_where_one_istiod_manages_all() -> None:
    a, b, c = cluster("a", "one"), cluster("b", "two", "a"), cluster("c", "three")
    assert topology.watch_beside_another([a, b, c]) == Watch("a", "c")
    assert topology.watch_beside_another([a, b, cluster("c", "three", "a")]) == Watch("a", "b")
