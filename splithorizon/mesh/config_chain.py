"""Everything that has to give a network and a cluster the same name, from the first cause to what istiod made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from splithorizon.istio import discover, names
from splithorizon.istio.info import Address, ClusterInfo, NetworkMode
from splithorizon.istio.topology import Role
from splithorizon.kube.client import Kube, Object
from splithorizon.traffic.istiod import ControlPlane
from splithorizon.traffic.proxy import Proxy

GATEWAYS = "gateways"
"""How ``Link.of`` ends where meshNetworks tells of a network's gateways, and not of its clusters."""


class Source(StrEnum):
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
class Setting:
    """One place where a name is given: of what, which it has to be, and which it is."""

    place: Source
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


def settings(
    facts: ClusterInfo,
    mode: NetworkMode,
    *,
    kube: Kube,
    control_plane: ControlPlane,
    pods: Iterable[Injected],
    gateways: Iterable[Address],
) -> Iterator[Setting]:
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
        yield Setting(Source.REMOTE_KUBECONFIG, of, facts.cluster_id, _one_of(facts.cluster_id, keys))
    for istiod, watched in control_plane.clusters().items():
        ids = {cluster.cluster_id for cluster in watched}
        yield Setting(Source.CLUSTERS, f"{of} by {istiod}", facts.cluster_id, _one_of(facts.cluster_id, ids))
    for istiod, found in control_plane.network_gateways().items():
        seen = found.get(facts.network, frozenset())
        yield Setting(Source.GATEWAYS, f"{of} by {istiod}", _several(gateways), _several(seen))


def _labelled(facts: ClusterInfo, kube: Kube, of: str) -> Iterator[Setting]:
    namespace = kube.get("Namespace", facts.system_namespace) or {"metadata": {}}
    yield Setting(Source.NAMESPACE, of, facts.network, _network_label(namespace))
    services = discover.gateway_services(kube, facts.network, NetworkMode.LABELS)
    addresses = [address for service in services for address in discover.addresses(service)]
    yield Setting(Source.SERVICE, of, _several(facts.gateways), _several(addresses))


def _told(facts: ClusterInfo, control_plane: ControlPlane, of: str) -> Iterator[Setting]:
    networks = control_plane.mesh_networks()
    yield Setting(Source.MESH_NETWORKS, of, facts.network, discover.network_of(facts.cluster_id, networks))
    gateways: list[Any] = networks.get(facts.network, {}).get("gateways") or []
    # A gateway that is named by its Service has its address from there: what istiod found shows it.
    if all("address" in gateway for gateway in gateways):
        seen = discover.configured({"gateways": gateways}, [])
        yield Setting(Source.MESH_NETWORKS, f"{of}, {GATEWAYS}", _several(facts.gateways), _several(seen))


def _pod(one: Injected, facts: ClusterInfo, mode: NetworkMode, of: str) -> Iterator[Setting]:
    name = f"{of}'s {one.proxy.name}"
    # A gateway's label is its Service's as well, which must not tell of a network that the ConfigMap tells of.
    if not (one.is_gateway and mode is NetworkMode.MESH_NETWORKS):
        yield Setting(Source.POD_LABEL, name, facts.network, _network_label(one.pod))
    identity = one.proxy.identity
    yield Setting(Source.POD_NETWORK, name, facts.network, identity.network)
    yield Setting(Source.POD_CLUSTER, name, facts.cluster_id, identity.cluster_id)


def _network_label(found: Object) -> str:
    return str(found["metadata"].get("labels", {}).get(names.NETWORK_LABEL, ""))


def _one_of(wanted: str, names: set[str]) -> str:
    return wanted if wanted in names else _several(names)


def _several(things: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, things)))
