"""Subsets by cluster keep each client to the pods of its own cluster, and let it out again when they are gone.

Given  helloworld in both networks, a subset of it for each cluster, and a route to the client's own
When   both are applied to the primary, and later taken away
Then   meanwhile every request is answered by a pod of the client's own cluster, and both versions answer afterwards
Why    https://istio.io/latest/docs/ops/configuration/traffic-management/multicluster/#partitioning-services
Breaks when  an older VirtualService for the same host is there: side-cars get that one
Profile  extended
"""

from __future__ import annotations

from fixtures.nouns import Prove, Route, Stay
from splithorizon import checks


def test_subsets_keep_clients_in_their_cluster(route: Route, stay_by_subset: Stay, prove: Prove) -> None:
    prove(checks.kept_at_home(stay_by_subset.meanwhile, near_pods=stay_by_subset.near_pods, by="a subset"))
    prove(checks.both_versions_answer(stay_by_subset.afterwards.replies, route))
