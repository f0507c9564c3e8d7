"""Everything that has to give a network and a cluster the same name, from the first cause to what istiod made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from splithorizon.istio import discover, gateway_services, names
from splithorizon.istio.info import Address, ClusterInfo, NetworkMode
from splithorizon.kube.client import Kube, Object
from splithorizon.traffic.istiod import ControlPlane
from splithorizon.traffic.proxy import Proxy

GATEWAYS = "gateways"
"""How ``Setting.of`` ends where meshNetworks tells of a network's gateways, and not of its clusters."""


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
    """One place where a name is given: where, of what, which name is expected, and which is there."""

    source: Source
    of: str
    expected: str
    seen: str

    @property
    def ok(self) -> bool:
        """Whether the name is the expected one; no name at all is never right."""
        return self.seen == self.expected != ""

    def __str__(self) -> str:
        """As a row of the chain's table."""
        wanted = "" if self.ok else f", not {self.expected or 'a name'}"
        return f"{self.source}, {self.of}: {self.seen or 'nothing'}{wanted}"


@dataclass(frozen=True)
class Injected:
    """A pod with a proxy, as the API server has it."""

    pod: Object
    proxy: Proxy
    is_gateway: bool
    gateway_port: int = names.GATEWAY_PORT
    """Of a gateway: the port at which it takes other networks."""


def settings(
    info: ClusterInfo,
    mode: NetworkMode,
    *,
    kube: Kube,
    istiods: Mapping[str, ControlPlane],
    pods: Iterable[Injected],
    gateways: Iterable[Address],
    cluster_ids: Iterable[str],
    configured: Iterable[Address] | None = None,
) -> Iterator[Setting]:
    """The chain of one cluster, setting by setting; a place that knows several names shows all of them.

    ``istiods`` are by the name of the cluster that runs each. ``gateways`` are the addresses that istiod has to have
    found of the network, also where it reads a host name and resolves it; ``configured`` are those of the network as
    its configuration has them, which are the cluster's where the network has no other one. ``cluster_ids`` are those
    of all clusters of the mesh that are claimed: gateways that istiod found in another one are left out.
    """
    of_network = list(info.gateways if configured is None else configured)
    of = f"the {info.name}"
    if mode is NetworkMode.LABELS:
        yield from _from_labels(info, kube, of, none_anywhere=not of_network)
    else:
        for name, istiod in istiods.items():
            yield from _from_mesh_networks(info, istiod, f"{of} in the {name}", of_network)
    for one in pods:
        yield from _from_pod(one, info, mode, of)
    for name, istiod in istiods.items():
        # An istiod needs no secret for the cluster that it runs in.
        if name != info.name:
            keys = {secret.cluster_id for secret in istiod.remote_secrets()}
            seen = _one_of(info.cluster_id, keys)
            yield Setting(Source.REMOTE_KUBECONFIG, f"{of} in the {name}", info.cluster_id, seen)
    for istiod in istiods.values():
        for pod, watched in istiod.clusters().items():
            ids = {cluster.cluster_id for cluster in watched}
            yield Setting(Source.CLUSTERS, f"{of} by {pod}", info.cluster_id, _one_of(info.cluster_id, ids))
    # A cluster's own gateways go before what the configuration says of its network beside them.
    own_first = mode is NetworkMode.LABELS and bool(info.gateways)
    found_in = {*cluster_ids} if own_first else {*cluster_ids, names.NO_CLUSTER}
    for istiod in istiods.values():
        for pod, found in istiod.network_gateways(found_in=found_in).items():
            known = found.get(info.network, frozenset())
            yield Setting(Source.GATEWAYS, f"{of} by {pod}", _several(gateways), _several(known))


def _from_labels(info: ClusterInfo, kube: Kube, of: str, *, none_anywhere: bool) -> Iterator[Setting]:
    namespace = kube.get("Namespace", info.system_namespace) or {"metadata": {}}
    yield Setting(Source.NAMESPACE, of, info.network, _network_label(namespace))
    services = gateway_services.of_network(kube, info.network, NetworkMode.LABELS)
    # What a Gateway of Gateway API names needs no Service with the label: what istiod found shows it.
    expected = [address for address in info.gateways if address not in info.named_gateways]
    # A cluster needs none where another one of its network has some.
    if expected or services or none_anywhere:
        yield Setting(Source.SERVICE, of, _several(expected), _several(gateway_services.all_addresses(kube, services)))


def _from_mesh_networks(
    info: ClusterInfo, istiod: ControlPlane, of: str, configured: Iterable[Address]
) -> Iterator[Setting]:
    networks = istiod.mesh_networks()
    yield Setting(Source.MESH_NETWORKS, of, info.network, discover.network_of(info.cluster_id, networks))
    gateways: list[Any] = networks.get(info.network, {}).get("gateways") or []
    # A gateway that is named by its Service has its address from there: what istiod found shows it.
    if all("address" in gateway for gateway in gateways):
        seen = gateway_services.configured({"gateways": gateways}, [])
        yield Setting(Source.MESH_NETWORKS, f"{of}, {GATEWAYS}", _several(configured), _several(seen))


def _from_pod(one: Injected, info: ClusterInfo, mode: NetworkMode, of: str) -> Iterator[Setting]:
    name = f"{of}'s {one.proxy.name}"
    # A gateway's label is its Service's as well, and that label must not compete with the ConfigMap.
    if not (one.is_gateway and mode is NetworkMode.MESH_NETWORKS):
        yield Setting(Source.POD_LABEL, name, info.network, _network_label(one.pod))
    identity = one.proxy.identity
    yield Setting(Source.POD_NETWORK, name, info.network, identity.network)
    yield Setting(Source.POD_CLUSTER, name, info.cluster_id, identity.cluster_id)


def _network_label(found: Object) -> str:
    return str(found["metadata"].get("labels", {}).get(names.NETWORK_LABEL, ""))


def _one_of(wanted: str, names: set[str]) -> str:
    return wanted if wanted in names else _several(names)


def _several(things: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, things)))
