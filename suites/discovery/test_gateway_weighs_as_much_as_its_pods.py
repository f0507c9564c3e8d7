"""The far network's gateway weighs as much in a client's sidecar as there are pods behind it.

Given  helloworld in every network, and a client with a sidecar
When   the sidecar is asked for its endpoints of helloworld and their weights
Then   the gateway's share in all weight is the far pods' share in all pods, and near pods weigh the same
Why    istio/istio#56355, #28798: a far pod that is not counted is never asked, though it is ready
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Mesh, RecordEvidence, Route
from splithorizon import checks


@behaviour(profile="extended", breaks_when="far-pod-without-sidecar")
def test_gateway_weighs_as_much_as_its_pods(mesh: Mesh, route: Route, record_evidence: RecordEvidence) -> None:
    endpoints, horizon = mesh[route.near].client.endpoints, mesh.horizon(route.near)
    record_evidence(checks.weights_follow(endpoints, route, horizon=horizon))
