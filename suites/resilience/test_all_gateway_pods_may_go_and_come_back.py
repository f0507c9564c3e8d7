"""While a far gateway has no pod the rest of the mesh answers, and every version does once it has one again.

Given  a gateway that is its network's only one, and every version answers
When   it is scaled to nothing, and back
Then   meanwhile clients of other networks are answered by the rest of the mesh and local traffic is whole, afterwards
       every version answers every client, by their own paths
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
