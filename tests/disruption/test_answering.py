"""Which clusters answer which client after a disruption, in the one shape of now and in a mesh of three clusters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from splithorizon.disruption.answering import Answering, ExpectedAnswers
from splithorizon.istio.topology import Watch
from tests.support.mesh_info import mesh_info


@pytest.fixture
def two(tmp_path: Path) -> ExpectedAnswers:
    return ExpectedAnswers(mesh_info(tmp_path))


@pytest.fixture
def three(tmp_path: Path) -> ExpectedAnswers:
    """Two primaries of one network, and a third cluster on another that the second manages."""
    known = mesh_info(tmp_path)
    shapes = {"a": ("one", "a"), "b": ("one", "b"), "c": ("two", "b")}
    one = known.clusters["primary"]
    clusters = {
        name: replace(one, name=name, network=network, control_plane=control_plane)
        for name, (network, control_plane) in shapes.items()
    }
    return ExpectedAnswers(replace(known, clusters=clusters))


def by(answering: Answering) -> dict[str, str]:
    return {client: " ".join(sorted(clusters)) for client, clusters in answering.clusters.items()}


def test_of_a_primary_and_a_remote(two: ExpectedAnswers) -> None:
    both = "primary remote"
    assert by(two.everyone) == {"primary": both, "remote": both}
    assert by(two.own) == {"primary": "primary", "remote": "remote"}
    assert by(two.without("primary")) == {"primary": "remote", "remote": "remote"}
    assert by(two.unwatched(Watch("primary", "remote"))) == {"primary": "primary", "remote": "primary"}
    assert by(two.without_gateway("remote")) == {"primary": "primary", "remote": both}
    assert two.own_network == two.own
    assert two.failed_over("primary") == two.without("primary")
    assert str(two.unwatched(Watch("primary", "remote"))) == "every client is answered by primary alone"


def test_of_three_clusters_with_two_istiods(three: ExpectedAnswers) -> None:
    assert by(three.without("a")) == {"a": "b c", "b": "b c", "c": "b c"}
    # The proxies of c have their endpoints from the istiod of b.
    assert by(three.unwatched(Watch("a", "c"))) == {"a": "a b", "b": "a b c", "c": "a b c"}
    # The gateway of b has its endpoints from the istiod of b too.
    assert by(three.unwatched(Watch("b", "a"))) == {"a": "a b c", "b": "b c", "c": "b c"}
    assert by(three.without_gateway("c")) == {"a": "a b", "b": "a b", "c": "a b c"}
    assert by(three.without_gateway("a")) == {"a": "a b c", "b": "a b c", "c": "c"}
    assert by(three.own_network) == {"a": "a b", "b": "a b", "c": "c"}
    assert by(three.failed_over("a")) == {"a": "b", "b": "b", "c": "c"}
    assert by(three.failed_over("c")) == by(three.without("c"))
    words = "the clients of b and c are answered by b and c alone, the others by every cluster"
    assert str(three.unwatched(Watch("b", "a"))) == words


def test_the_proxies_of_an_istiod_hold_nothing_of_a_cluster_that_it_does_not_watch(
    two: ExpectedAnswers, three: ExpectedAnswers
) -> None:
    assert three.everyone.unknown == {}
    assert three.everyone.held == "every sidecar holds the endpoints of every cluster"
    unwatched = three.unwatched(Watch("b", "a"))
    assert unwatched.unknown == {"b": {"a"}, "c": {"a"}}
    assert unwatched.held == "the sidecars of b and c hold all endpoints but those of a"
    assert two.unwatched(Watch("primary", "remote")).held == "every sidecar holds all endpoints but those of remote"


def test_every_state_has_words_of_its_own(three: ExpectedAnswers) -> None:
    states = [
        three.everyone,
        three.own,
        three.without("a"),
        three.unwatched(Watch("a", "c")),
        three.without_gateway("c"),
    ]
    assert len(set(map(str, states))) == len(states)


def test_a_gateway_that_the_same_istiod_configures_forgets_the_cluster_too(three: ExpectedAnswers) -> None:
    known = three.info.clusters
    d = replace(known["c"], name="d")
    star = ExpectedAnswers(replace(three.info, clusters={"b": known["b"], "c": known["c"], "d": d}))
    unwatched = star.unwatched(Watch("b", "c"))
    assert by(unwatched) == {"b": "b d", "c": "b d", "d": "b d"}
    assert str(unwatched) == "every client is answered by b and d alone"
    assert unwatched.unknown == {name: {"c"} for name in "bcd"}


def test_a_gateway_that_another_istiod_configures_passes_on_to_the_cluster_that_is_not_watched(
    three: ExpectedAnswers,
) -> None:
    known = three.info.clusters
    c = replace(known["c"], control_plane="c")
    pair = ExpectedAnswers(replace(three.info, clusters={"a": known["a"], "b": known["b"], "c": c}))
    unwatched = pair.unwatched(Watch("c", "a"))
    assert by(unwatched) == {"a": "a b c", "b": "a b c", "c": "a b c"}
    assert str(unwatched) == "every client is answered by every cluster"
    assert unwatched.held == "the sidecars of c hold all endpoints but those of a"
