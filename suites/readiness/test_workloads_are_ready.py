"""helloworld and the client are ready in each cluster, each pod with its sidecar.

Given  the sample namespace of a cluster
When   its pods are read
Then   every one is ready with all its containers, the sidecar among them
Why    Istio's guide wants "2/2 Running"; istio/istio#42327: a webhook without a CA bundle injects nothing
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Cluster, RecordEvidence
from splithorizon import checks


@behaviour(profile="core", breaks_when="workload-not-injected")
def test_workloads_are_ready(cluster: Cluster, record_evidence: RecordEvidence) -> None:
    record_evidence(checks.ready(cluster.workloads_readiness, cluster.name, sidecar=True))
