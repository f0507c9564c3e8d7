"""Each network's east-west gateway is ready, with all its containers.

Given  a network with an east-west gateway
When   its pods are read
Then   there is at least one, and every one is ready with all its containers
Why    https://istio.io/latest/docs/ops/diagnostic-tools/multicluster/ and istio/istio#49045
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Cluster, RecordEvidence
from splithorizon import checks


@behaviour(profile="core", breaks_when="gateway-never-ready")
def test_gateways_are_ready(gateway_cluster: Cluster, record_evidence: RecordEvidence) -> None:
    record_evidence(checks.ready(gateway_cluster.gateways_readiness, gateway_cluster.name))
