"""The far network's gateway passes the service's connections to pods of its network, and rejects none.

Given  helloworld in every network, and the gateways' own counters and upstreams
When   the client sends a fixed number of requests, none of them sent again
Then   bytes came through the far gateway under the service's name (SNI), its upstreams for that name are exactly
       its own network's pods, so that nothing goes back or on, and no connection was turned away (NR)
Why    istio/istio#40624, #32848: an unknown name is turned away; #26293: a gateway that hands on to another one
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import GatewayStats, Mesh, RecordEvidence, Route
from splithorizon import checks


@behaviour(profile="core", breaks_when="service-not-exported")
def test_gateway_passes_to_its_own_pods(
    mesh: Mesh, route: Route, gateway_stats: GatewayStats, record_evidence: RecordEvidence
) -> None:
    shared, pods = not mesh.info.owned, mesh.helloworld_on_network_of(route.far)
    versions = {cluster.info.version for cluster in mesh.sharing_network(route.far)}
    record_evidence(
        checks.gateway_passes_to_own_pods(gateway_stats, route, own_pods=pods, own_versions=versions, shared=shared)
    )
