"""A client is answered within its own cluster by a service that only this cluster has, and nothing crosses a gateway.

Given  a service of helloworld's pods that exists in the client's cluster alone
When   the client sends a fixed number of requests to it, none of them sent again
Then   each request is answered directly by a pod of the client's cluster
Why    the control of all other routing claims: where this fails, the fault is not between the networks
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Cluster, RecordEvidence, Sample
from splithorizon import checks


@behaviour(profile="core", breaks_when="near-pods-refuse")
def test_local_traffic_stays_local(cluster: Cluster, local_sample: Sample, record_evidence: RecordEvidence) -> None:
    record_evidence(checks.local_traffic_stays(local_sample, near_pods=cluster.helloworld_addresses))
