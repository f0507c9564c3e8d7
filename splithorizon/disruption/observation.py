"""What clients are answered while an experiment goes on."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import ParamSpec

from splithorizon.base import parallel
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet
from splithorizon.disruption import watching
from splithorizon.disruption.answering import Answering, ExpectedAnswers
from splithorizon.disruption.experiment import Experiment
from splithorizon.disruption.recovery import Batch, Recovery, Traffic
from splithorizon.istio.topology import Route, Watch
from splithorizon.mesh import settling
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.sampling import Sampling
from splithorizon.traffic.new_connections import NewConnections
from splithorizon.traffic.requests import Reply

Acted = ParamSpec("Acted")

# That all of them go to one of two versions by chance happens once in 10^11.
_PROBED = 40
# A third of a second: the next follows at once, so that the traffic has no long gap.
_AT_A_TIME = 200


class Observation:
    """Sends from every client of the mesh, to measure and to be judged."""

    def __init__(self, experiment: Experiment, *, times: int) -> None:
        """Take how many requests a judged batch has."""
        self.experiment = experiment
        self.expected = ExpectedAnswers(experiment.mesh.info)
        self._mesh = experiment.mesh
        self._sampling = Sampling(experiment.mesh)
        self._times = times

    def until(self, answering: Answering) -> Recovery:
        """Probe until every client is answered by exactly these clusters without a loss; measured from the change."""
        missed = self._mesh.names[0]

        def probe(cluster: Cluster) -> None:
            nonlocal missed
            groups = self._groups(cluster.name, answering)
            wanted = frozenset().union(*groups)
            replies = cluster.client.send(times=_PROBED)
            lost = sum(not reply.answered for reply in replies)
            answered = {str(reply.version) for reply in replies if reply.answered}
            if lost or not answered <= wanted or not all(group & answered for group in groups):
                missed = cluster.name
                by = ", ".join(sorted(answered)) or "nobody"
                raise NotYet(f"the {cluster}'s client: {lost} of {len(replies)} lost, the others answered by {by}")

        recovery = self.experiment.measure(
            f"{answering}, without a loss",
            lambda: parallel.for_each(self._mesh, probe),
            within=timeouts().mesh_recovered,
            cluster=missed,
        )
        return replace(recovery, cluster=missed)

    def until_held(self, answering: Answering) -> Recovery:
        """Probe until every client's sidecar holds exactly what its istiod knows then; measured from the change."""
        missed = self._mesh.names[0]

        def probe(cluster: Cluster) -> None:
            nonlocal missed
            unknown = self._unknown(cluster.name, answering)
            horizon = self._mesh.horizon(cluster.name, unknown=unknown)
            wanted = {*horizon.near_pods, *horizon.far_gateways}
            held = {str(endpoint.address) for endpoint in cluster.client.endpoints}
            if not wanted - horizon.may_be_forgotten(unknown) <= held <= wanted:
                missed = cluster.name
                seen = ", ".join(sorted(held)) or "nothing"
                raise NotYet(f"the {cluster}'s client holds {seen} in place of {', '.join(sorted(wanted))}")
            # A gateway stands for all pods of its network: whose are known shows where each cluster has its own.
            for name in self._mesh.names:
                if bool(watching.endpoints_of_alone(self._mesh, cluster, name)) is (name in unknown):
                    missed = cluster.name
                    raise NotYet(f"the {cluster}'s client holds {'a' if name in unknown else 'no'} pod of {name}")

        recovery = self.experiment.measure(
            answering.held,
            lambda: parallel.for_each(self._mesh, probe),
            within=timeouts().mesh_recovered,
            cluster=missed,
        )
        return replace(recovery, cluster=missed)

    def batches(self, answering: Answering) -> tuple[Batch, ...]:
        """Send one batch of each client, each request once, to be judged by version and path."""
        settling.await_drained(self._mesh)
        found = parallel.for_each(
            self._mesh.client_routes,
            lambda route: Batch(
                self._sampling.sample(route, times=self._times),
                self._paths(route.near, answering.clusters[route.near], self._unknown(route.near, answering)),
                self._groups(route.near, answering),
            ),
        )
        return tuple(found.values())

    def new_connections(self, watch: Watch) -> NewConnections:
        """New connections of the watching cluster's client to pods that the watched one alone has."""
        near, far = self._mesh[watch.watching].info, self._mesh[watch.watched].info
        return self._sampling.new_connections(Route(near.name, far.name, near.network != far.network))

    def local_batches(self, *clients: str) -> tuple[Batch, ...]:
        """Send one batch from each of these clients to the service that only its own cluster has."""
        settling.await_drained(self._mesh)
        return tuple(
            Batch(self._sampling.local_sample(name, times=self._times), self._paths(name, {name})) for name in clients
        )

    def under_traffic(self, change: Callable[Acted, Recovery], *how: Acted.args, **named: Acted.kwargs) -> Traffic:
        """Change the mesh while every client sends without a pause, and go on for some time after the recovery."""
        stop = Event()

        def send(route: Route) -> tuple[Reply, ...]:
            found: list[Reply] = []
            while not stop.is_set():
                found += self._mesh[route.near].client.send(times=_AT_A_TIME, patient=True)
            return tuple(found)

        routes = self._mesh.client_routes
        with ThreadPoolExecutor(len(routes)) as pool:
            sent = {route: pool.submit(send, route) for route in routes}
            try:
                recovery = change(*how, **named)
                stop.wait(timeouts().traffic_watched)
            finally:
                stop.set()
            return Traffic({route: future.result() for route, future in sent.items()}, recovery)

    def _paths(
        self, client: str, answering: Collection[str], unknown: Collection[str] = ()
    ) -> dict[str, frozenset[str]]:
        """Where a client's requests go that each of these clusters answers, by its version."""
        horizon = self._mesh.horizon(client, unknown=unknown)
        return {self._mesh[name].info.version: horizon.ways_to(name) for name in self._mesh.names if name in answering}

    @staticmethod
    def _unknown(client: str, answering: Answering) -> frozenset[str]:
        """The clusters that a client's istiod does not know then."""
        return answering.unknown.get(client, frozenset())

    def _groups(self, client: str, answering: Answering) -> tuple[frozenset[str], ...]:
        """The versions that have to answer a client, in groups of which one has to."""
        expected = {self._mesh.info.workload_versions[name] for name in answering.clusters[client]}
        return tuple(group & expected for group in self._mesh.version_groups(client) if group & expected)
