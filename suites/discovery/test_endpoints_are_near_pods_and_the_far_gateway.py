"""A client's sidecar holds the pods of its own network and the gateways of the other networks, and nothing else.

Given  helloworld in every network, and a client with a sidecar
When   the sidecar is asked for its endpoints of helloworld
Then   they are exactly the near pods and the gateway addresses of every other network, and every one is healthy
Why    https://istio.io/latest/docs/ops/diagnostic-tools/multicluster/ and istio/istio#42516, #28381, #39930
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Mesh, RecordEvidence, Route
from splithorizon import checks


@behaviour(profile="core", breaks_when=("gateway-service-without-network", "gateway-missing-in-mesh-networks"))
def test_endpoints_are_near_pods_and_the_far_gateway(mesh: Mesh, route: Route, record_evidence: RecordEvidence) -> None:
    endpoints, horizon = mesh[route.near].client.endpoints, mesh.horizon(route.near)
    record_evidence(checks.endpoints_split_at_the_horizon(endpoints, route, horizon=horizon))
