"""While the remote's gateway has no pod the near version answers, and both do once it has one again.

Given  a remote gateway, and both versions answer
When   it is scaled to nothing, and back
Then   meanwhile the primary's client is answered by its own cluster and local traffic is whole, afterwards
       both versions answer both clients, by their own paths
Why    https://istio.io/latest/docs/ops/best-practices/deployment/: a cluster is of use on its own
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Disruption, GatewayDisruption, Mesh, RecordEvidence, Watch
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="remote-without-istiod")
def test_all_gateway_pods_may_go_and_come_back(
    mesh: Mesh, disruption: Disruption, gateway: GatewayDisruption, watch: Watch, record_evidence: RecordEvidence
) -> None:
    everyone, alone = disruption.expected.everyone, disruption.expected.without_gateway(watch.watched)
    record_evidence(checks.scaled(gateway.scale(0)))
    record_evidence(checks.goes_on_alone(disruption.until(alone)))
    record_evidence(checks.answered_as_it_should(disruption.local_batches(*mesh.names)))
    record_evidence(checks.scaled(gateway.scale(1)))
    record_evidence(checks.gateway_recovered(disruption.until(everyone)))
    record_evidence(checks.answered_as_it_should(disruption.batches(everyone)))
