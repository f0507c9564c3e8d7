"""Everything that has to give a network and a cluster the same name, from the first cause to what istiod made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from splithorizon.kube import Kube, Object
from splithorizon.mesh import foreign
from splithorizon.mesh.facts import ClusterFacts, NetworkMode
from splithorizon.mesh.gateway import Address
from splithorizon.observations.control_plane import ControlPlane
from splithorizon.observations.proxy import Proxy
from splithorizon.topology import Role

GATEWAYS = "gateways"
"""How ``Link.of`` ends where meshNetworks tells of a network's gateways, and not of its clusters."""


class Place(StrEnum):
    """Where a name is given, in the order in which one follows from another."""

    NAMESPACE = "label of the system namespace"
    MESH_NETWORKS = "meshNetworks in istiod's ConfigMap"
    SERVICE = "gateway Services with the network's label"
    POD_LABEL = "label of a pod"
    POD_NETWORK = "ISTIO_META_NETWORK of a proxy"
    POD_CLUSTER = "cluster id of a proxy"
    REMOTE_KUBECONFIG = "data key of a remote secret"
    CLUSTERS = "cluster that istiod watches"
    GATEWAYS = "gateways that istiod found"


@dataclass(frozen=True)
class Link:
    """One place where a name is given: of what, which it has to be, and which it is."""

    place: Place
    of: str
    expected: str
    seen: str

    @property
    def whole(self) -> bool:
        """Whether it is as it has to be; no name at all is never right."""
        return self.seen == self.expected != ""

    def __str__(self) -> str:
        """As a row of the chain's table."""
        wanted = "" if self.whole else f", not {self.expected or 'a name'}"
        return f"{self.place}, {self.of}: {self.seen or 'nothing'}{wanted}"


@dataclass(frozen=True)
class Injected:
    """A pod with a proxy, as the API server has it."""

    pod: Object
    proxy: Proxy
    is_gateway: bool


def links(
    facts: ClusterFacts,
    mode: NetworkMode,
    *,
    kube: Kube,
    control_plane: ControlPlane,
    pods: Iterable[Injected],
    gateways: Iterable[Address],
) -> Iterator[Link]:
    """The chain of one cluster, link by link; where a place knows several names, all of them are shown.

    ``gateways`` are the addresses that istiod has to have found, also where a gateway's is told by a name.
    """
    of = f"the {facts.role}"
    if mode is NetworkMode.LABELS:
        yield from _labelled(facts, kube, of)
    else:
        yield from _told(facts, control_plane, of)
    for one in pods:
        yield from _pod(one, facts, mode, of)
    if facts.role is Role.REMOTE:
        keys = {secret.cluster_id for secret in control_plane.remote_secrets()}
        yield Link(Place.REMOTE_KUBECONFIG, of, facts.cluster_id, _one_of(facts.cluster_id, keys))
    for istiod, watched in control_plane.clusters().items():
        ids = {cluster.cluster_id for cluster in watched}
        yield Link(Place.CLUSTERS, f"{of} by {istiod}", facts.cluster_id, _one_of(facts.cluster_id, ids))
    for istiod, found in control_plane.network_gateways().items():
        seen = found.get(facts.network, frozenset())
        yield Link(Place.GATEWAYS, f"{of} by {istiod}", _several(gateways), _several(seen))


def _labelled(facts: ClusterFacts, kube: Kube, of: str) -> Iterator[Link]:
    namespace = kube.get("Namespace", facts.system_namespace) or {"metadata": {}}
    yield Link(Place.NAMESPACE, of, facts.network, _network_label(namespace))
    services = foreign.gateway_services(kube, facts.network, NetworkMode.LABELS)
    addresses = [address for service in services for address in foreign.addresses(service)]
    yield Link(Place.SERVICE, of, _several(facts.gateways), _several(addresses))


def _told(facts: ClusterFacts, control_plane: ControlPlane, of: str) -> Iterator[Link]:
    networks = control_plane.mesh_networks()
    yield Link(Place.MESH_NETWORKS, of, facts.network, foreign.network_of(facts.cluster_id, networks))
    gateways: list[Any] = networks.get(facts.network, {}).get("gateways") or []
    # A gateway that is named by its Service has its address from there: what istiod found shows it.
    if all("address" in gateway for gateway in gateways):
        seen = foreign.configured({"gateways": gateways}, [])
        yield Link(Place.MESH_NETWORKS, f"{of}, {GATEWAYS}", _several(facts.gateways), _several(seen))


def _pod(one: Injected, facts: ClusterFacts, mode: NetworkMode, of: str) -> Iterator[Link]:
    name = f"{of}'s {one.proxy.name}"
    # A gateway's label is its Service's as well, which must not tell of a network that the ConfigMap tells of.
    if not (one.is_gateway and mode is NetworkMode.MESH_NETWORKS):
        yield Link(Place.POD_LABEL, name, facts.network, _network_label(one.pod))
    identity = one.proxy.identity
    yield Link(Place.POD_NETWORK, name, facts.network, identity.network)
    yield Link(Place.POD_CLUSTER, name, facts.cluster_id, identity.cluster_id)


def _network_label(found: Object) -> str:
    return str(found["metadata"].get("labels", {}).get(foreign.NETWORK_LABEL, ""))


def _one_of(wanted: str, names: set[str]) -> str:
    return wanted if wanted in names else _several(names)


def _several(things: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, things)))
