"""What a client has to hold, for checks: of two clusters on two networks, and of three of which two share one."""

from __future__ import annotations

from collections.abc import Collection

from splithorizon.istio.horizon import Horizon
from splithorizon.istio.info import NetworkMode
from splithorizon.istio.topology import Route

NETWORKS = {"cluster1": "network1", "cluster2": "network1", "cluster3": "network2"}
PODS = {name: f"10.{number}0.0.7:5000" for number, name in enumerate(NETWORKS, start=1)}
GATEWAYS = {name: f"172.18.0.{number}:15443" for number, name in enumerate(NETWORKS, start=1)}
VERSIONS = {name: f"v{number}" for number, name in enumerate(NETWORKS, start=1)}


def of_two(
    route: Route,
    *,
    near: Collection[str],
    far: Collection[str],
    gateway: Collection[str],
    mode: NetworkMode = NetworkMode.LABELS,
) -> Horizon:
    """Of the client of a route between two networks of one cluster each."""
    return Horizon(
        route.near,
        {route.near: "near-network", route.far: "far-network"},
        pods={route.near: frozenset(near), route.far: frozenset(far)},
        gateways={route.near: frozenset(), route.far: frozenset(gateway)},
        mode=mode,
    )


def of_three(client: str, *, without_gateway: str = "", mode: NetworkMode = NetworkMode.LABELS) -> Horizon:
    """Of a client where cluster1 and cluster2 share a network; each has a gateway but for the one that is named."""
    return Horizon(
        client,
        NETWORKS,
        pods={name: frozenset({pod}) for name, pod in PODS.items()},
        gateways={name: frozenset({one} if name != without_gateway else ()) for name, one in GATEWAYS.items()},
        mode=mode,
    )
