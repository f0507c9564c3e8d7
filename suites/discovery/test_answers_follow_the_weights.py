"""With unequal numbers of pods the far gateway weighs as much as its pods, and its network answers as often.

Given  helloworld scaled to two pods in one cluster, to four in the next, and so on by turns
When   the client's sidecar has the gateway's new weight, and the client sends 600 requests, none of them sent again
Then   all are answered, and the far network's share lies in the exact binomial interval of its share in all pods
Why    istio/istio#56355; connections may be pinned to a pod behind the gateway, so of pods nothing is claimed
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Mesh, RecordEvidence, Route, WeightedBatch
from splithorizon import checks


@behaviour(profile="extended", breaks_when="balanced-without-weights")
def test_answers_follow_the_weights(
    mesh: Mesh, route: Route, weighted_batch: WeightedBatch, record_evidence: RecordEvidence
) -> None:
    mode, versions = mesh.info.network_mode, mesh.info.workload_versions
    horizon, replies = weighted_batch.horizon, weighted_batch.sample.replies
    record_evidence(checks.weights_follow(weighted_batch.endpoints, route, horizon=horizon))
    record_evidence(checks.all_answered(replies, route, mode=mode))
    record_evidence(checks.answers_follow_weights(replies, route, horizon=horizon, versions=versions))
