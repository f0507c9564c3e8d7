"""Batches while the far version has more pods than the near one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from splithorizon.base import parallel
from splithorizon.istio.horizon import Horizon
from splithorizon.istio.topology import Route
from splithorizon.mesh.discovery import Discovery
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.sampling import Sampling
from splithorizon.traffic.client import Sample
from splithorizon.traffic.proxy import Endpoint

_PODS = 3
_TIMES = 500


@dataclass(frozen=True)
class WeightedBatch:
    """A batch of the near client, and before it its sidecar's endpoints and those that it should have had."""

    horizon: Horizon
    endpoints: tuple[Endpoint, ...]
    sample: Sample


def measure(mesh: Mesh, undo: ExitStack) -> Mapping[Route, WeightedBatch]:
    """Give one far version after the other three pods, and send a batch on each route to it; the others have one.

    The pods of the next version start while those of the last one end.
    """
    found: dict[Route, WeightedBatch] = {}
    last = undo.enter_context(ExitStack())
    for far in dict.fromkeys(route.far for route in mesh.routes):
        scaled = undo.enter_context(ExitStack())
        mesh[far].begin_to_scale_helloworld(_PODS, scaled)
        last.close()
        mesh[far].await_helloworld(_PODS)
        found |= parallel.for_each([route for route in mesh.routes if route.far == far], lambda one: _batch(mesh, one))
        last = scaled
    return found


def _batch(mesh: Mesh, route: Route) -> WeightedBatch:
    horizon = mesh.horizon(route.near)
    endpoints = Discovery(mesh).endpoints_of_all_pods(route, horizon)
    return WeightedBatch(horizon, endpoints, Sampling(mesh).sample(route, times=_TIMES))
