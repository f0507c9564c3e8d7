"""A service that the mesh configuration calls cluster-local stays in each client's cluster, and leaves it again after.

Given  a name of its own for helloworld in every network
When   it is made cluster-local in the mesh configuration, and later no longer is
Then   meanwhile every request is answered by a pod of the client's own cluster, and every network answers afterwards
Why    https://istio.io/latest/docs/ops/configuration/traffic-management/multicluster/
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Confinement, Mesh, PinnedTraffic, RecordEvidence, Route
from splithorizon import checks


@behaviour(profile="extended", breaks_when="mesh-configuration-unreadable")
def test_cluster_local_service_stays_at_home(
    mesh: Mesh, route: Route, pinned_by_cluster_local: PinnedTraffic, record_evidence: RecordEvidence
) -> None:
    traffic, replies = pinned_by_cluster_local, pinned_by_cluster_local.afterwards.replies
    record_evidence(
        checks.stays_in_cluster(traffic.meanwhile, near_pods=traffic.near_pods, by=Confinement.CLUSTER_LOCAL)
    )
    mode, versions, groups = mesh.info.network_mode, mesh.info.workload_versions, mesh.version_groups(route.near)
    record_evidence(checks.both_versions_answer(replies, route, versions=versions, mode=mode, groups=groups))
