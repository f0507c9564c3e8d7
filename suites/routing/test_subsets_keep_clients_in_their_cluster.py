"""Subsets by cluster keep each client to the pods of its own cluster, and let it out again when they are gone.

Given  helloworld in both networks, a subset of it for each cluster, and a route to the client's own
When   both are applied to the primary, and later taken away
Then   meanwhile every request is answered by a pod of the client's own cluster, and both versions answer afterwards
Why    https://istio.io/latest/docs/ops/configuration/traffic-management/multicluster/#partitioning-services
Breaks when  an older VirtualService for the same host is there: side-cars get that one
Profile  extended
"""

from __future__ import annotations

from fixtures.nouns import ExitStack, Mesh, Prove, Route
from splithorizon import checks


def test_subsets_keep_clients_in_their_cluster(mesh: Mesh, route: Route, changes: ExitStack, prove: Prove) -> None:
    near_pods = mesh[route.near].helloworld_addresses
    mesh.keep_to_subsets(changes)
    mesh.await_home(route)
    prove(checks.kept_at_home(mesh.sample(route, times=200), near_pods=near_pods, by="a subset"))
    changes.close()
    prove(checks.both_versions_answer(mesh.sample(route, times=200).replies, route))
