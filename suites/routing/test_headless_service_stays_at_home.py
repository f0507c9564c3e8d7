"""A headless service, which every cluster has, is answered in the client's own cluster alone.

Given  a headless service in front of the same pods, in every cluster
When   the client sends a fixed number of requests to it, none of them sent again
Then   a pod of the client's cluster answers each directly: the name resolves to pods, which no gateway serves
Why    https://github.com/istio/istio/issues/27342 and 38327: sidecars go where the name leads, and not to endpoints
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Cluster, Confinement, RecordEvidence, Sampling
from splithorizon import checks


@behaviour(profile="extended", breaks_when="headless-sent-on")
def test_headless_service_stays_at_home(cluster: Cluster, sampling: Sampling, record_evidence: RecordEvidence) -> None:
    sample = sampling.headless_sample(cluster.name, times=100)
    record_evidence(checks.stays_in_cluster(sample, near_pods=cluster.helloworld_addresses, by=Confinement.HEADLESS))
