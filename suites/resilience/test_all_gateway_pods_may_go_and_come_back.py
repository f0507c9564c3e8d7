"""While the remote's gateway has no pod the near version answers, and both do once it has one again.

Given  a remote gateway, and both versions answer
When   it is scaled to nothing, and back
Then   meanwhile the primary's client is answered by its own cluster and local traffic is whole, afterwards
       both versions answer both clients, by their own paths
Why    https://istio.io/latest/docs/ops/best-practices/deployment/: a cluster is of use on its own
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Answering, Disruption, RecordEvidence, Role
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="remote-without-istiod")
def test_all_gateway_pods_may_go_and_come_back(gateway_disruption: Disruption, record_evidence: RecordEvidence) -> None:
    record_evidence(checks.scaled(gateway_disruption.scale_gateway(Role.REMOTE, 0)))
    record_evidence(checks.goes_on_alone(gateway_disruption.until(Answering.ONE_WAY)))
    record_evidence(checks.answered_as_it_should(gateway_disruption.local_batches(*Role)))
    record_evidence(checks.scaled(gateway_disruption.scale_gateway(Role.REMOTE, 1)))
    record_evidence(checks.gateway_recovered(gateway_disruption.until(Answering.BOTH)))
    record_evidence(checks.answered_as_it_should(gateway_disruption.batches(Answering.BOTH)))
