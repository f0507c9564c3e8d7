"""A service that the mesh configuration calls cluster-local stays in each client's cluster, and leaves it again after.

Given  helloworld in both networks
When   it is made cluster-local in the mesh configuration, and later no longer is
Then   meanwhile every request is answered by a pod of the client's own cluster, and both versions answer afterwards
Why    https://istio.io/latest/docs/ops/configuration/traffic-management/multicluster/
Breaks when  istiod cannot read its configuration, and goes on with the one before
Profile  extended
"""

from __future__ import annotations

from fixtures.nouns import Prove, Route, Stay
from splithorizon import checks


def test_cluster_local_service_stays_at_home(route: Route, stay_by_cluster_local: Stay, prove: Prove) -> None:
    stay = stay_by_cluster_local
    prove(checks.kept_at_home(stay.meanwhile, near_pods=stay.near_pods, by="clusterLocal"))
    prove(checks.both_versions_answer(stay.afterwards.replies, route))
