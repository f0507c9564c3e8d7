"""Subsets by cluster keep each client on the pods of its cluster, until the subsets are removed.

Given  a name of its own for helloworld in every network, a subset of it for each cluster, a route to the client's own
When   both are applied to every primary, and later taken away
Then   meanwhile every request is answered by a pod of the client's own cluster, and every network answers afterwards
Why    https://istio.io/latest/docs/ops/configuration/traffic-management/multicluster/#partitioning-services
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Confinement, Mesh, PinnedTraffic, RecordEvidence, Route
from splithorizon import checks


@behaviour(profile="extended", breaks_when="older-virtual-service")
def test_subsets_keep_clients_in_their_cluster(
    mesh: Mesh, route: Route, pinned_by_subset: PinnedTraffic, record_evidence: RecordEvidence
) -> None:
    traffic, replies = pinned_by_subset, pinned_by_subset.afterwards.replies
    record_evidence(checks.stays_in_cluster(traffic.meanwhile, near_pods=traffic.near_pods, by=Confinement.SUBSET))
    mode, versions, groups = mesh.info.network_mode, mesh.info.workload_versions, mesh.version_groups(route.near)
    record_evidence(checks.both_versions_answer(replies, route, versions=versions, mode=mode, groups=groups))
