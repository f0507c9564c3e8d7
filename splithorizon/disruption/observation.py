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
from splithorizon.disruption.answering import Answering, ExpectedAnswers
from splithorizon.disruption.experiment import Experiment
from splithorizon.disruption.recovery import Batch, Recovery, Traffic
from splithorizon.istio.topology import Route
from splithorizon.mesh import settling
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.sampling import Sampling
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
            versions = self._mesh.info.workload_versions
            wanted = {versions[name] for name in answering.clusters[cluster.name]}
            replies = cluster.client.send(times=_PROBED)
            lost = sum(not reply.answered for reply in replies)
            answered = {str(reply.version) for reply in replies if reply.answered}
            if lost or answered != wanted:
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

    def batches(self, answering: Answering) -> tuple[Batch, ...]:
        """Send one batch on each route, each request once, to be judged by version and path."""
        settling.await_drained(self._mesh)
        found = parallel.for_each(
            self._mesh.routes,
            lambda route: Batch(
                self._sampling.sample(route, times=self._times), self._paths(route, answering.clusters[route.near])
            ),
        )
        return tuple(found.values())

    def local_batches(self, *clients: str) -> tuple[Batch, ...]:
        """Send one batch from each of these clients to the service that only its own cluster has."""
        settling.await_drained(self._mesh)
        return tuple(
            Batch(self._sampling.local_sample(name, times=self._times), self._paths(Route(name, name, False), {name}))
            for name in clients
        )

    def under_traffic(self, change: Callable[Acted, Recovery], *how: Acted.args, **named: Acted.kwargs) -> Traffic:
        """Change the mesh while every client sends without a pause, and go on for some time after the recovery."""
        stop = Event()

        def send(route: Route) -> tuple[Reply, ...]:
            found: list[Reply] = []
            while not stop.is_set():
                found += self._mesh[route.near].client.send(times=_AT_A_TIME, patient=True)
            return tuple(found)

        routes = self._mesh.routes
        with ThreadPoolExecutor(len(routes)) as pool:
            sent = {route: pool.submit(send, route) for route in routes}
            try:
                recovery = change(*how, **named)
                stop.wait(timeouts().traffic_watched)
            finally:
                stop.set()
            return Traffic({route: future.result() for route, future in sent.items()}, recovery)

    def _paths(self, route: Route, answering: Collection[str]) -> dict[str, frozenset[str]]:
        near, far = self._mesh[route.near], self._mesh[route.far]
        ways = {far.name: far.gateway_addresses, near.name: near.helloworld_addresses}
        return {self._mesh[name].info.version: ways[name] for name in ways if name in answering}
