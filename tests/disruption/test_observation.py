"""What sidecars have to hold while an istiod does not know a cluster, of three of which two share a network."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from splithorizon.base import timeouts
from splithorizon.disruption.experiment import Experiment
from splithorizon.disruption.observation import Observation
from splithorizon.disruption.recovery import Recovery
from splithorizon.istio.horizon import Horizon
from splithorizon.istio.info import MeshInfo, NetworkMode
from splithorizon.istio.topology import Watch
from splithorizon.mesh.mesh import Mesh
from tests.support.horizons import GATEWAYS, NETWORKS, PODS, of_three
from tests.support.mesh_info import mesh_info

ONE, TWO, THREE = NETWORKS
WATCH = Watch(THREE, ONE)
"""The third cluster's istiod no longer watches the first one; the gateway of the second stays."""


@dataclass(frozen=True, eq=False)
class Member:
    """A cluster with its client."""

    name: str
    client: Any

    def __str__(self) -> str:
        return self.name


@dataclass
class HeldMesh:
    """A mesh whose sidecars hold what a test says: of helloworld, and of the Service of each cluster's own pods."""

    info: MeshInfo
    mode: NetworkMode
    held: dict[str, set[str]]
    known: dict[str, set[str]]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(NETWORKS)

    def __iter__(self) -> Iterator[Any]:
        for name in NETWORKS:
            endpoints = [SimpleNamespace(address=one) for one in self.held[name]]
            client = SimpleNamespace(endpoints=endpoints, proxy=SimpleNamespace(endpoints=self._of_alone(name)))
            yield Member(name, client)

    def _of_alone(self, client: str) -> Any:
        versions = {one.version: name for name, one in self.info.clusters.items()}

        def endpoints(envoy_cluster: str) -> tuple[str, ...]:
            version = envoy_cluster.partition("new-connections-")[2].partition(".")[0]
            return (PODS[versions[version]],) if versions[version] in self.known[client] else ()

        return endpoints

    def horizon(self, client: str, *, unknown: Collection[str] = ()) -> Horizon:
        return of_three(client, mode=self.mode).forgetting(unknown)


@pytest.fixture(params=list(NetworkMode))
def mesh(tmp_path: Path, request: pytest.FixtureRequest) -> HeldMesh:
    """A sound mesh: the first cluster manages the second, and the third has its own istiod."""
    known = mesh_info(tmp_path)
    clusters = {
        name: replace(
            known.clusters["primary"], name=name, network=network, version=f"v{number}",
            control_plane=THREE if name == THREE else ONE,
        )
        for number, (name, network) in enumerate(NETWORKS.items(), start=1)
    }  # fmt: skip
    held = {name: {*of_three(name).near_pods, *of_three(name).far_gateways} for name in NETWORKS}
    return HeldMesh(replace(known, clusters=clusters), request.param, held, {name: {*NETWORKS} for name in NETWORKS})


def until_held(mesh: HeldMesh, *, unwatched: bool) -> Recovery:
    with ExitStack() as undo:
        observation = Observation(Experiment(cast(Mesh, mesh), undo), times=1)
        expected = observation.expected
        return observation.until_held(expected.unwatched(WATCH) if unwatched else expected.everyone)


def seen(mesh: HeldMesh, *, unwatched: bool) -> str:
    """What keeps the third cluster's client from holding what it should, however long that is waited for."""
    with timeouts.shortened(0.001):
        recovery = until_held(mesh, unwatched=unwatched)
    assert not recovery.reached
    assert recovery.cluster == THREE
    return recovery.last_seen


def test_a_sound_mesh_holds_everything(mesh: HeldMesh) -> None:
    assert until_held(mesh, unwatched=False).reached


def test_before_istiod_forgot_the_cluster_it_is_not_reached_in_any_mode(mesh: HeldMesh) -> None:
    assert THREE in seen(mesh, unwatched=True)


def test_where_the_other_gateway_and_no_pod_of_the_cluster_is_left_it_is_reached(mesh: HeldMesh) -> None:
    mesh.held[THREE] = {PODS[THREE], GATEWAYS[TWO]}
    mesh.known[THREE] = {TWO, THREE}
    assert until_held(mesh, unwatched=True).reached
    assert GATEWAYS[ONE] in seen(mesh, unwatched=False)


def test_what_meshnetworks_names_may_stay(mesh: HeldMesh) -> None:
    mesh.known[THREE] = {TWO, THREE}
    if mesh.mode is NetworkMode.MESH_NETWORKS:
        assert until_held(mesh, unwatched=True).reached
    else:
        assert GATEWAYS[ONE] in seen(mesh, unwatched=True)
    assert seen(mesh, unwatched=False).startswith(f"the {THREE}'s client holds no pod of {ONE}")


def test_a_gateway_that_went_too_and_a_pod_in_its_place_are_told(mesh: HeldMesh) -> None:
    mesh.known[THREE] = {TWO, THREE}
    mesh.held[THREE] = {PODS[THREE], PODS[TWO]}
    assert f"holds {', '.join(sorted((PODS[THREE], PODS[TWO])))} in place of" in seen(mesh, unwatched=True)
