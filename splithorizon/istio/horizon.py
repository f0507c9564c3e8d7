"""The split horizon of one client: the pods of its own network, and gateways in place of every other network's pods."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from splithorizon.istio.info import NetworkMode


@dataclass(frozen=True)
class EndpointGroup:
    """Endpoints that lead to the same pods, by host and port: those of one near cluster, or gateways of a network.

    ``pods`` is how many pods of ``clusters`` they stand for, which is their weight together.
    """

    addresses: frozenset[str]
    clusters: tuple[str, ...]
    pods: int


@dataclass(frozen=True)
class Horizon:
    """What the sidecar of one cluster's client has to hold of a Service that every cluster has.

    All mappings are by the cluster's name; ``pods`` and ``gateways`` have addresses as Envoy logs them.
    """

    client: str
    networks: Mapping[str, str]
    pods: Mapping[str, frozenset[str]]
    gateways: Mapping[str, frozenset[str]]
    """The gateways in each cluster; none in a cluster whose network has its gateways elsewhere."""
    mode: NetworkMode

    @property
    def near(self) -> tuple[str, ...]:
        """The clusters of the client's network, its own among them."""
        return tuple(name for name in self.networks if self._is_near(name))

    @property
    def far(self) -> tuple[str, ...]:
        """The clusters of every other network."""
        return tuple(name for name in self.networks if not self._is_near(name))

    @property
    def near_pods(self) -> frozenset[str]:
        """The pods that the client reaches at their own addresses."""
        return self._pods_of(self.near)

    @property
    def far_pods(self) -> frozenset[str]:
        """The pods that the client reaches through a gateway alone."""
        return self._pods_of(self.far)

    @property
    def far_gateways(self) -> frozenset[str]:
        """The gateways that stand for those pods."""
        return frozenset[str]().union(*(self.gateways_of(name) for name in self.far if self.pods[name]))

    def gateways_of(self, name: str) -> frozenset[str]:
        """The gateways in place of the pods of a cluster."""
        return frozenset(gateways_for(name, self.networks, self.gateways, self.mode))

    def sharing(self, name: str) -> tuple[str, ...]:
        """The clusters of a cluster's network, itself among them."""
        return tuple(one for one, network in self.networks.items() if network == self.networks[name])

    def ways_to(self, name: str) -> frozenset[str]:
        """Where a request goes that a pod of that cluster answers.

        Each gateway of another network passes on to every pod of its network, also to those of another cluster.
        """
        if self._is_near(name):
            return self.pods[name]
        return frozenset[str]().union(*(self.gateways_of(one) for one in self.sharing(name) if self.pods[one]))

    def pods_sharing(self, name: str) -> frozenset[str]:
        """The pods of all clusters of a cluster's network."""
        return self._pods_of(self.sharing(name))

    def share_of_network(self, name: str) -> Fraction:
        """The share of a cluster's network in all pods."""
        total = len(self.near_pods) + len(self.far_pods)
        return Fraction(len(self.pods_sharing(name)), total) if total else Fraction(0)

    @property
    def endpoint_groups(self) -> tuple[EndpointGroup, ...]:
        """All endpoints of the client by what they lead to: first each near cluster's pods, then the gateways.

        Gateways that share the pods of a cluster are one group.
        """
        near = [EndpointGroup(self.pods[name], (name,), len(self.pods[name])) for name in self.near if self.pods[name]]
        gateways: list[EndpointGroup] = []
        for name in self.far:
            if not self.pods[name]:
                continue
            addresses = self.gateways_of(name)
            joined = [one for one in gateways if one.addresses & addresses]
            gateways = [one for one in gateways if one not in joined]
            gateways.append(
                EndpointGroup(
                    addresses.union(*(one.addresses for one in joined)),
                    (*(cluster for one in joined for cluster in one.clusters), name),
                    len(self.pods[name]) + sum(one.pods for one in joined),
                )
            )
        return (*near, *gateways)

    def forgetting(self, names: Collection[str]) -> Horizon:
        """The same where istiod does not know these clusters: neither their pods, nor what they tell of gateways.

        What meshNetworks names stays, but for the gateways that it takes from a Service; see ``may_be_forgotten``.
        """
        keeps = self.mode is NetworkMode.MESH_NETWORKS
        return replace(
            self,
            pods={name: frozenset() if name in names else pods for name, pods in self.pods.items()},
            gateways={
                name: frozenset() if name in names and not keeps else gateways
                for name, gateways in self.gateways.items()
            },
        )

    def may_be_forgotten(self, names: Collection[str]) -> frozenset[str]:
        """The gateways that these clusters alone have: meshNetworks may name them by a Service, which istiod reads."""
        own, others = (
            frozenset[str]().union(*(found for name, found in self.gateways.items() if (name in names) is theirs))
            for theirs in (True, False)
        )
        return own - others if self.mode is NetworkMode.MESH_NETWORKS else frozenset()

    def _pods_of(self, names: Iterable[str]) -> frozenset[str]:
        return frozenset[str]().union(*(self.pods[name] for name in names))

    def _is_near(self, name: str) -> bool:
        return self.networks[name] == self.networks[self.client]


def gateways_for(
    name: str, networks: Mapping[str, str], gateways: Mapping[str, Iterable[str]], mode: NetworkMode
) -> list[str]:
    """The gateways that istiod gives in place of the pods of a cluster, each once.

    These are those of the cluster itself, and those of the whole network where it has none, or where networks are set
    in the ConfigMap, which names no cluster's. ``networks`` and ``gateways`` are by the cluster's name.
    """
    own = list(gateways[name])
    if own and mode is NetworkMode.LABELS:
        return own
    sharing = (one for one, network in networks.items() if network == networks[name])
    return list(dict.fromkeys(address for one in sharing for address in gateways[one]))


def distinguishable_groups(client: str, networks: Mapping[str, str]) -> tuple[frozenset[str], ...]:
    """The clusters, in groups of which every one must answer a batch of the client's requests.

    A sidecar chooses among its endpoints for each request. To a gateway it keeps its connections, and each leads to one
    pod behind it: few connections decide which pods of a far network answer. So a far network is one group.
    """
    groups: list[frozenset[str]] = [frozenset({name}) for name in networks if networks[name] == networks[client]]
    others = dict.fromkeys(network for network in networks.values() if network != networks[client])
    return (*groups, *(frozenset(name for name in networks if networks[name] == other) for other in others))


def group_of(name: str, groups: Collection[frozenset[str]]) -> frozenset[str]:
    """The group that a name is in; raises KeyError where it is in none."""
    for group in groups:
        if name in group:
            return group
    raise KeyError(name)
