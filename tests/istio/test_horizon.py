"""What each client has to hold follows from networks, pods and gateways; of three clusters two share a network."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from splithorizon.istio.horizon import EndpointGroup, distinguishable_groups, group_of
from splithorizon.istio.info import NetworkMode
from tests.support.horizons import GATEWAYS, NETWORKS, PODS, of_three

MESH_NETWORKS = NetworkMode.MESH_NETWORKS
ONE, TWO, THREE = ("cluster1", "cluster2", "cluster3")


def test_a_client_holds_the_pods_of_its_whole_network_and_the_gateway_of_the_other() -> None:
    known = of_three(TWO)
    assert known.near == (ONE, TWO)
    assert known.near_pods == {PODS[ONE], PODS[TWO]}
    assert known.far_gateways == {GATEWAYS[THREE]}
    assert known.ways_to(ONE) == {PODS[ONE]}
    assert known.ways_to(THREE) == {GATEWAYS[THREE]}
    assert known.endpoint_groups == (
        EndpointGroup(frozenset({PODS[ONE]}), (ONE,), 1),
        EndpointGroup(frozenset({PODS[TWO]}), (TWO,), 1),
        EndpointGroup(frozenset({GATEWAYS[THREE]}), (THREE,), 1),
    )


def test_with_labels_each_cluster_has_its_own_gateway_and_each_gateway_all_pods_of_the_network() -> None:
    known = of_three(THREE)
    assert known.gateways_of(ONE) == {GATEWAYS[ONE]}
    assert known.endpoint_groups[1:] == (
        EndpointGroup(frozenset({GATEWAYS[ONE]}), (ONE,), 1),
        EndpointGroup(frozenset({GATEWAYS[TWO]}), (TWO,), 1),
    )
    assert known.ways_to(ONE) == {GATEWAYS[ONE], GATEWAYS[TWO]}
    assert known.share_of_network(TWO) == Fraction(2, 3)


def test_a_cluster_without_a_gateway_is_reached_by_that_of_its_network_which_weighs_both() -> None:
    known = of_three(THREE, without_gateway=TWO)
    assert known.gateways_of(TWO) == known.far_gateways == {GATEWAYS[ONE]}
    assert known.endpoint_groups[1:] == (EndpointGroup(frozenset({GATEWAYS[ONE]}), (ONE, TWO), 2),)


def test_mesh_networks_know_a_networks_gateways_and_not_whose_each_is() -> None:
    known = of_three(THREE, mode=MESH_NETWORKS)
    assert known.gateways_of(ONE) == known.gateways_of(TWO) == {GATEWAYS[ONE], GATEWAYS[TWO]}
    assert known.endpoint_groups[1:] == (EndpointGroup(frozenset({GATEWAYS[ONE], GATEWAYS[TWO]}), (ONE, TWO), 2),)


def test_a_cluster_without_pods_needs_no_gateway_and_no_endpoint() -> None:
    known = of_three(THREE)
    without = replace(known, pods={**known.pods, ONE: frozenset()})
    assert without.far_gateways == without.ways_to(TWO) == {GATEWAYS[TWO]}
    assert [one.clusters for one in without.endpoint_groups] == [(THREE,), (TWO,)]


def test_answers_of_one_far_network_are_counted_together() -> None:
    assert list(map(sorted, distinguishable_groups(ONE, NETWORKS))) == [[ONE], [TWO], [THREE]]
    assert list(map(sorted, distinguishable_groups(THREE, NETWORKS))) == [[THREE], [ONE, TWO]]
    assert group_of(TWO, distinguishable_groups(THREE, NETWORKS)) == {ONE, TWO}
    with pytest.raises(KeyError):
        group_of("cluster4", distinguishable_groups(THREE, NETWORKS))


def test_of_a_cluster_that_is_forgotten_pods_and_gateway_go_and_the_other_gateway_knows_its_pods() -> None:
    known = of_three(THREE)
    left = known.forgetting({ONE})
    assert left.near_pods == {PODS[THREE]}
    assert left.far_gateways == left.ways_to(ONE) == left.ways_to(TWO) == {GATEWAYS[TWO]}
    assert known.may_be_forgotten({ONE}) == frozenset()
    assert known.forgetting(()) == known


def test_mesh_networks_may_name_the_gateway_of_a_cluster_that_is_forgotten_by_its_service() -> None:
    known = of_three(THREE, mode=MESH_NETWORKS)
    assert known.forgetting({ONE}).far_gateways == {GATEWAYS[ONE], GATEWAYS[TWO]}
    assert known.may_be_forgotten({ONE}) == {GATEWAYS[ONE]}
    shared = replace(known, gateways={**known.gateways, TWO: known.gateways[ONE]})
    assert shared.may_be_forgotten({ONE}) == frozenset(), "the other cluster has it too"
