"""Each client is answered by the versions of its own network and by those of the other networks.

Given  a version of helloworld in each cluster, and nowhere else
When   a client sends a fixed number of requests, none of them sent again
Then   every request is answered, by each near version and each far network, and the sidecar made one attempt for each
Why    https://istio.io/latest/docs/setup/install/multicluster/verify/
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Mesh, RecordEvidence, Sample
from splithorizon import checks


@behaviour(
    profile="core",
    every_pair=True,
    breaks_when=("remote-secret-missing", "services-not-exposed", "one-gateway-address-refuses"),
)
def test_both_versions_answer(mesh: Mesh, sample: Sample, record_evidence: RecordEvidence) -> None:
    mode, versions, route = mesh.info.network_mode, mesh.info.workload_versions, sample.route
    record_evidence(checks.all_answered(sample.replies, route, mode=mode))
    groups, near_pods = mesh.version_groups(route.near), mesh.helloworld_on_network_of(route.near)
    record_evidence(checks.both_versions_answer(sample.replies, route, versions=versions, mode=mode, groups=groups))
    record_evidence(checks.no_hidden_attempts(sample, near_pods=near_pods, mode=mode))
