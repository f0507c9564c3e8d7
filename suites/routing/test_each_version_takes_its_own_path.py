"""A far network's version is reached through its gateway, and the near network's straight at its pod.

Given  a client, and helloworld in every network, a version in each cluster
When   the client sends a fixed number of requests, each with its own id
Then   every reply is joined to the one line its sidecar logged for it, where a reply from another network's
       version went to that network's gateway, and a reply from a version of the client's network to that version's pod
Why    no test of Istio's own asserts the path of each reply
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Mesh, RecordEvidence, Sample
from splithorizon import checks


@behaviour(
    profile="core",
    every_pair=True,
    breaks_when=(
        "pods-dialled-past-the-unlabelled-gateway",
        "pods-dialled-past-the-unnamed-gateway",
        "forwarder-among-the-near-pods",
    ),
)
def test_each_version_takes_its_own_path(mesh: Mesh, sample: Sample, record_evidence: RecordEvidence) -> None:
    route, horizon, versions = sample.route, mesh.horizon(sample.route.near), mesh.info.workload_versions
    record_evidence(checks.every_reply_matched(sample.matched, route))
    record_evidence(checks.path_proof(sample.matched, route, horizon=horizon, versions=versions))
