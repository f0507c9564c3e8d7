"""Which clusters answer which client, as data: the state that a disruption is expected to lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from splithorizon.istio.info import MeshInfo
from splithorizon.istio.topology import Watch


@dataclass(frozen=True)
class Answering:
    """For the client of each cluster, by name, the clusters whose helloworld answers it; and that in words.

    ``unknown`` has the clusters that the istiod of a client does not know meanwhile, where there are such.
    """

    state: str
    clusters: Mapping[str, frozenset[str]]
    unknown: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def held(self) -> str:
        """What the sidecars of the clients then hold, in words."""
        if not self.unknown:
            return "every sidecar holds the endpoints of every cluster"
        forgotten = _words(frozenset[str]().union(*self.unknown.values()))
        whose = "every sidecar holds" if self.unknown.keys() == self.clusters.keys() else ""
        whose = whose or f"the sidecars of {_words(self.unknown)} hold"
        return f"{whose} all endpoints but those of {forgotten}"

    def __str__(self) -> str:
        """The words of a report."""
        return self.state


@dataclass(frozen=True)
class ExpectedAnswers:
    """The states that the disruptions of one mesh lead to."""

    info: MeshInfo

    @property
    def everyone(self) -> Answering:
        """As before a disruption."""
        return self._of("every client is answered by every cluster", lambda _: self._names)

    @property
    def own(self) -> Answering:
        """Where clients prefer their own network, and all of it is up."""
        return self._of("each client is answered by its own cluster alone", lambda client: frozenset({client}))

    @property
    def own_network(self) -> Answering:
        """Where clients prefer their own network, and all of it is up."""
        if len({*self.info.networks.values()}) == len(self._names):
            return self.own
        return self._of("each client is answered by its own network alone", self._sharing)

    def failed_over(self, name: str) -> Answering:
        """Where clients prefer their own network, and no pod of that cluster can answer: another network comes last."""
        rest = self._names - {name}
        left = {client: self._sharing(client) - {name} or rest for client in self._names}
        if all(clusters == rest for clusters in left.values()):
            return self.without(name)
        words = f"each client is answered by what is left of its own network without {name}, or else by all others"
        return self._of(words, lambda client: left[client])

    def without(self, name: str) -> Answering:
        """Where no pod of that cluster can answer anybody."""
        rest = self._names - {name}
        return self._of(f"every client is answered by {_words(rest)} alone", lambda _: rest)

    def unwatched(self, watch: Watch) -> Answering:
        """Where the istiod of ``watching`` no longer watches the other: its proxies lose that cluster's endpoints.

        Gateways of its network that another istiod configures know its pods still, and pass on to them.
        """
        proxies = {cluster.name for cluster in self.info.managed_by(watch.watching)}
        sharing = self._sharing(watch.watched)
        knowing = sharing - {watch.watched} - proxies
        lost = {client for client in proxies if not knowing or client in sharing}
        rest = self._names - {watch.watched}
        words = "every client is answered by every cluster"
        if lost:
            words = f"the clients of {_words(lost)} are answered by {_words(rest)} alone, the others by every cluster"
        answering = self._of(words, lambda client: rest if client in lost else self._names)
        if lost == self._names:
            answering = self.without(watch.watched)
        return replace(answering, unknown=dict.fromkeys(sorted(proxies), frozenset({watch.watched})))

    def without_gateway(self, name: str) -> Answering:
        """Where the gateway of that cluster's network is not reached: other networks lose the cluster."""
        network = self.info.clusters[name].network
        behind = {one.name for one in self.info.clusters.values() if one.network == network}
        rest = self._names - behind
        words = f"the clients outside {network} are answered by {_words(rest)} alone, its own by every cluster"
        return self._of(words, lambda client: self._names if client in behind else rest)

    def _sharing(self, name: str) -> frozenset[str]:
        return frozenset(one.name for one in self.info.sharing_network(name))

    @property
    def _names(self) -> frozenset[str]:
        return frozenset(self.info.clusters)

    def _of(self, state: str, clusters: Callable[[str], frozenset[str]]) -> Answering:
        return Answering(state, {client: clusters(client) for client in self.info.clusters})


def _words(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))
