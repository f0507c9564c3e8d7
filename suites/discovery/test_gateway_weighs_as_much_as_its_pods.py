"""The far network's gateway weighs as much in a client's side-car as there are pods behind it.

Given  helloworld in both networks, and a client with a side-car
When   the side-car is asked for its endpoints of helloworld and their weights
Then   the gateway's share in all weight is the far pods' share in all pods, and near pods weigh the same
Why    istio/istio#56355, #28798: a far pod that is not counted is never asked, though it is ready
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.nouns import Mesh, Prove, Route
from splithorizon import checks


@behaviour(profile="extended", breaks_when="far-pod-without-sidecar")
def test_gateway_weighs_as_much_as_its_pods(mesh: Mesh, route: Route, prove: Prove) -> None:
    near, far = mesh[route.near], mesh[route.far]
    prove(
        checks.weights_follow(
            mesh.client(route.near).endpoints,
            route,
            near_pods=near.helloworld_addresses,
            far_pods=far.helloworld_addresses,
            far_gateway=far.gateway_addresses,
        )
    )
