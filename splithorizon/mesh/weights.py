"""Batches while the clusters have different numbers of pods."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from splithorizon.base import parallel
from splithorizon.istio.horizon import Horizon
from splithorizon.istio.topology import Route
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.discovery import Discovery
from splithorizon.mesh.isolated_changes import IsolatedChange
from splithorizon.mesh.sampling import Sampling
from splithorizon.traffic.client import Sample
from splithorizon.traffic.proxy import Endpoint

# By turns: enough that a gateway which counts for one pod shows from every cluster, and that networks differ.
_PODS = (2, 4)
# Of two to four pods: a gateway that counts for one is taken for sound once in a hundred runs at most.
_TIMES = 600


@dataclass(frozen=True)
class WeightedBatch:
    """A batch of the near client, and before it its sidecar's endpoints and those that it should have had."""

    horizon: Horizon
    endpoints: tuple[Endpoint, ...]
    sample: Sample


@dataclass(eq=False)
class MorePods(IsolatedChange[Mapping[Route, WeightedBatch]]):
    """Every cluster has more pods of helloworld, two or four by turns: no other isolated change is affected."""

    batches: Mapping[Route, WeightedBatch] = field(default_factory=dict, init=False)

    @property
    def pods(self) -> Mapping[str, int]:
        """How many each cluster has meanwhile."""
        return {name: _PODS[number % len(_PODS)] for number, name in enumerate(self.mesh.names)}

    def apply(self, undo: ExitStack) -> None:
        """Ask for them."""
        for name, count in self.pods.items():
            self.mesh[name].begin_to_scale_helloworld(count, undo)

    def await_effect(self, cluster: Cluster) -> None:
        """Wait until all of a cluster are ready; raises EnvironmentBroke where one is not."""
        cluster.await_helloworld(self.pods[cluster.name])

    def look(self) -> None:
        """Send one batch on each route, once the far gateway weighs what it should."""
        self.batches = parallel.for_each(self.mesh.routes, self._batch)

    def _batch(self, route: Route) -> WeightedBatch:
        horizon = self.mesh.horizon(route.near)
        endpoints = Discovery(self.mesh).endpoints_of_all_pods(route, horizon)
        return WeightedBatch(horizon, endpoints, Sampling(self.mesh).sample(route, times=_TIMES))

    def _seen(self) -> Mapping[Route, WeightedBatch]:
        return self.batches
