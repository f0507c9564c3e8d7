"""A service that the mesh configuration calls cluster-local stays in each client's cluster, and leaves it again after.

Given  helloworld in both networks
When   it is made cluster-local in the mesh configuration, and later no longer is
Then   meanwhile every request is answered by a pod of the client's own cluster, and both versions answer afterwards
Why    https://istio.io/latest/docs/ops/configuration/traffic-management/multicluster/
Breaks when  istiod cannot read its configuration, and goes on with the one before
Profile  extended
"""

from __future__ import annotations

from fixtures.nouns import ExitStack, Mesh, Prove, Route
from splithorizon import checks


def test_cluster_local_service_stays_at_home(owned_mesh: Mesh, route: Route, changes: ExitStack, prove: Prove) -> None:
    near_pods = owned_mesh[route.near].helloworld_addresses
    owned_mesh.make_cluster_local(changes)
    owned_mesh.await_home(route)
    prove(checks.kept_at_home(owned_mesh.sample(route, times=200), near_pods=near_pods, by="clusterLocal"))
    changes.close()
    prove(checks.both_versions_answer(owned_mesh.sample(route, times=200).replies, route))
