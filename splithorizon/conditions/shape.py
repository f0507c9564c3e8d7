"""Behaviours that the shape of a mesh leaves nothing to judge of, each with the reason."""

from __future__ import annotations

from splithorizon.conditions import behaviours
from splithorizon.istio import topology
from splithorizon.istio.topology import Topology

ONE_PRIMARY = "one istiod reads the rules for every client"
ONE_ISTIOD = "one istiod manages every cluster"
CLIENTS_NEAR_EACH_PRIMARY = "each istiod has clients on the network of every other primary"
EACH_RUNS_ISTIOD = "each cluster runs istiod"
NO_WATCH = "no istiod watches the API server of another cluster"
NO_WATCH_BESIDE_ANOTHER = (
    "no istiod watches two clusters on other networks, of which one is enough to know the gateways"
)


def not_claimed(shape: Topology) -> dict[str, str]:
    """The behaviours that a mesh of that shape does not claim, by name, with the reason."""
    primaries = [one for one in shape if not one.is_managed]
    found: dict[str, str] = {}
    if len(primaries) == 1:
        found[behaviours.OF_SEVERAL_PRIMARIES] = ONE_PRIMARY
        found[behaviours.OF_AN_ISTIOD_AWAY] = ONE_ISTIOD
    elif topology.watch_of_primary(shape) is None:
        found[behaviours.OF_AN_ISTIOD_AWAY] = CLIENTS_NEAR_EACH_PRIMARY
    if len(primaries) == len(shape.clusters):
        found |= dict.fromkeys(behaviours.OF_A_MANAGED_CLUSTER, EACH_RUNS_ISTIOD)
    if topology.watch_beside_another(shape) is None:
        found[behaviours.OF_A_WATCH_BESIDE_ANOTHER] = NO_WATCH_BESIDE_ANOTHER
    if reason := without_watch(shape):
        found |= dict.fromkeys(behaviours.OF_A_WATCH, reason)
    return found


def without_watch(shape: Topology) -> str:
    """Why no watch of a cluster can be disrupted; empty where one can."""
    watch = topology.watch_across(shape)
    if watch is None:
        return NO_WATCH
    network = shape[watch.watched].network
    sharing = [one.name for one in shape if one.network == network]
    if len(sharing) > 1:
        return f"{' and '.join(sharing)} share a network: what a loss of one of their gateways leads to is not judged"
    if topology.configures_a_gateway_of_others(shape, watch):
        return (
            f"the istiod of {watch.watching} configures the gateway of {watch.watched}, and others' clients use it: "
            "what they lose with that watch is not judged"
        )
    return ""
