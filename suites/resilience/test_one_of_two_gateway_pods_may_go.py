"""A gateway of two pods may lose the one that carries the traffic: the other takes it over.

Given  a gateway of two pods, and clients that send without a pause
When   the older pod is deleted
Then   within the bound every request is answered again, each by its own path; how many were lost is recorded
Why    https://github.com/istio/istio/issues/52435: one gateway endpoint that fails takes its whole network along
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Disruption, GatewayDisruption, RecordEvidence
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="gateway-is-one-pod")
def test_one_of_two_gateway_pods_may_go(
    disruption: Disruption, gateway: GatewayDisruption, record_evidence: RecordEvidence
) -> None:
    record_evidence(checks.scaled(gateway.scale(2)))
    traffic = disruption.under_traffic(gateway.lose_oldest_pod)
    record_evidence(checks.gateway_recovered(traffic.recovery))
    record_evidence(checks.losses_counted(traffic))
    record_evidence(checks.answered_as_it_should(disruption.batches(disruption.expected.everyone)))
