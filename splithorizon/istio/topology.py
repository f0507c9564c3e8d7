"""The clusters of a mesh by name, which istiod manages which of them, and the routes between them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Protocol


class Member(Protocol):
    """What decides the shape of a mesh: a cluster's name, its network, and the cluster whose istiod manages it."""

    @property
    def name(self) -> str:
        """The name in test ids, messages and routes."""

    @property
    def network(self) -> str:
        """The network that its pods are in."""

    @property
    def control_plane(self) -> str:
        """The name of the cluster that runs its istiod: its own name where it runs one itself."""


@dataclass(frozen=True, order=True)
class Route:
    """An ordered pair of cluster names: the client is in ``near``, and ``far`` is where its requests may go.

    ``across_networks`` follows from the networks of the two: requests then pass the far network's gateway.
    """

    near: str
    far: str
    across_networks: bool = True

    def __str__(self) -> str:
        """As it stands in test ids and messages."""
        return f"{self.near}→{self.far}"


class Way(StrEnum):
    """Where a client's sidecar sent a request, seen from the client."""

    NEAR_POD = "near pod"
    FAR_GATEWAY = "far gateway"
    FAR_POD = "far pod"
    ELSEWHERE = "elsewhere"
    NOWHERE = "nowhere"


@dataclass(frozen=True, order=True)
class Watch:
    """An ordered pair of cluster names: the istiod in ``watching`` reads the API server of ``watched``.

    It needs a remote secret in ``watching`` for that.
    """

    watching: str
    watched: str

    def __str__(self) -> str:
        """As it stands in messages."""
        return f"istiod of {self.watching} watches {self.watched}"


@dataclass(frozen=True)
class PlannedCluster:
    """One cluster before there is a mesh. ``version`` is the version of helloworld that it alone runs.

    The address ranges are empty where they do not matter: for clusters that others made. A cluster without a gateway is
    reached from other networks by those of its network.
    """

    name: str
    network: str
    control_plane: str
    version: str
    pod_subnet: str = ""
    service_subnet: str = ""
    has_gateway: bool = True

    @property
    def is_managed(self) -> bool:
        """Whether its istiod is in another cluster."""
        return self.control_plane != self.name


@dataclass(frozen=True)
class Topology:
    """The clusters of a mesh before there is one, in their order: test ids come from here."""

    clusters: tuple[PlannedCluster, ...]

    def __iter__(self) -> Iterator[PlannedCluster]:
        return iter(self.clusters)

    def __getitem__(self, name: str) -> PlannedCluster:
        """The cluster of that name; raises KeyError where there is none."""
        return {cluster.name: cluster for cluster in self.clusters}[name]

    def __str__(self) -> str:
        """As it stands in a report."""
        return ", ".join(
            f"{cluster.name} on {cluster.network}"
            + (f" managed by {cluster.control_plane}" if cluster.control_plane != cluster.name else "")
            for cluster in self.clusters
        )

    def to_json(self) -> str:
        """Serialise, for another process of the run."""
        return json.dumps([asdict(cluster) for cluster in self.clusters])

    @classmethod
    def from_json(cls, text: str) -> Topology:
        """Read what ``to_json`` wrote."""
        return cls(tuple(PlannedCluster(**one) for one in json.loads(text)))

    @property
    def names(self) -> tuple[str, ...]:
        """The clusters' names, in their order."""
        return tuple(cluster.name for cluster in self.clusters)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every ordered pair of clusters on different networks."""
        return routes_across(self.clusters)

    @property
    def pairs(self) -> tuple[Route, ...]:
        """Every ordered pair of different clusters: first those on different networks."""
        return (*self.routes, *routes_within(self.clusters))


def routes_across(clusters: Iterable[Member]) -> tuple[Route, ...]:
    """Every ordered pair of clusters on different networks."""
    return tuple(Route(near.name, far.name) for near, far in _pairs(clusters) if near.network != far.network)


def routes_within(clusters: Iterable[Member]) -> tuple[Route, ...]:
    """Every ordered pair of different clusters on the same network."""
    return tuple(Route(near.name, far.name, False) for near, far in _pairs(clusters) if near.network == far.network)


def watches(clusters: Iterable[Member]) -> tuple[Watch, ...]:
    """Each cluster that runs istiod with every other cluster of the mesh."""
    return tuple(Watch(one.name, other.name) for one, other in _pairs(clusters) if one.control_plane == one.name)


def watch_across(clusters: Iterable[Member]) -> Watch | None:
    """The watch that is disrupted: the first of a cluster that is alone on its network, else the first of all.

    Beside another cluster of its network, a cluster's gateway or pods may be away and nobody notices. The first is one
    that ends for each user of the watched cluster's gateway alike, see ``configures_a_gateway_of_others``, if there is
    such a one. None where no istiod watches another cluster.
    """
    known = list(clusters)
    networks = {one.name: one.network for one in known}
    found = watches(known)
    alone = [watch for watch in found if [*networks.values()].count(networks[watch.watched]) == 1]
    alike = [watch for watch in alone if not configures_a_gateway_of_others(known, watch)]
    return next(iter(alike or alone or found), None)


def configures_a_gateway_of_others(clusters: Iterable[Member], watch: Watch) -> bool:
    """Whether the watching istiod configures the watched cluster's gateway, which clients of other istiods use.

    When that watch ends, the gateway does not know its own pods, and those clients are not told.
    """
    control_planes = {one.name: one.control_plane for one in clusters}
    return control_planes[watch.watched] == watch.watching and {*control_planes.values()} != {watch.watching}


def watch_of_primary(clusters: Iterable[Member]) -> Watch | None:
    """The first watch of a primary by another whose clients are all on other networks; None where there is none.

    While the watching istiod is away, its clients learn of no new pod: a gateway has to be between them and those.
    """
    known = list(clusters)
    primaries = {one.name: one.network for one in known if one.control_plane == one.name}
    clients = {name: {one.network for one in known if one.control_plane == name} for name in primaries}
    return next(
        (
            watch
            for watch in watches(known)
            if watch.watched in primaries and primaries[watch.watched] not in clients[watch.watching]
        ),
        None,
    )


def watch_beside_another(clusters: Iterable[PlannedCluster]) -> Watch | None:
    """The first watch across networks whose end leaves the istiod another far cluster, and all its clients a gateway.

    None where there is no such watch. A gateway that this istiod configures is left out where others' clients use it.
    """
    known = list(clusters)
    networks = {one.name: one.network for one in known}
    return next(
        (
            watch
            for watch in watches(known)
            if networks[watch.watching] != networks[watch.watched]
            and not configures_a_gateway_of_others(known, watch)
            and kept_beside(known, watch)
        ),
        None,
    )


def kept_beside(clusters: Iterable[PlannedCluster], watch: Watch) -> str:
    """The first cluster whose gateway the watching istiod still has to know when that watch ends: its name.

    One on the network of the watched cluster comes first. Empty where a client of this istiod would be left without any
    gateway of another network.
    """
    known = {one.name: one for one in clusters}
    left = [one for one in known.values() if one.name != watch.watched]
    with_gateway = {one.network for one in left if one.has_gateway}
    for client in known.values():
        needed = {one.network for one in left} - {client.network}
        if client.control_plane == watch.watching and not needed <= with_gateway:
            return ""
    near, network = known[watch.watching].network, known[watch.watched].network
    kept = [one for one in left if one.has_gateway and one.network != near]
    return next((one.name for one in sorted(kept, key=lambda one: one.network != network)), "")


def watch_of_managed(clusters: Iterable[Member]) -> Watch | None:
    """The first cluster whose istiod is in another one, watched from there; None where each cluster runs istiod."""
    return next((Watch(one.control_plane, one.name) for one in clusters if one.control_plane != one.name), None)


def _pairs(clusters: Iterable[Member]) -> list[tuple[Member, Member]]:
    known = list(clusters)
    return [(one, other) for one in known for other in known if one.name != other.name]


PRIMARY_REMOTE = Topology(
    (
        PlannedCluster("primary", "primary-network", "primary", "v1", "10.10.0.0/16", "10.110.0.0/16"),
        PlannedCluster("remote", "remote-network", "primary", "v2", "10.20.0.0/16", "10.120.0.0/16"),
    )
)
"""Two clusters on two networks: istiod runs in the first and manages both. It is made by default."""
