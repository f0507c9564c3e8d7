"""Clients that prefer their own network fail over to the other through its gateway, and come back.

Given  a DestinationRule with outlier detection that prefers endpoints of the client's own network
When   the primary's helloworld is scaled to nothing, and back
Then   meanwhile the remote's version answers all, through its gateway, nothing is lost; before and after, each its own
Why    https://github.com/istio/istio/issues/33024 and 48084; upstream tests failover across networks in ambient only
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Answering, Disruption, RecordEvidence, Role
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="rule-without-outlier-detection")
def test_clients_fail_over_to_the_other_network(disruption: Disruption, record_evidence: RecordEvidence) -> None:
    disruption.prefer_own_network()
    record_evidence(checks.prefers_own_network(disruption.until(Answering.OWN)))
    record_evidence(checks.answered_as_it_should(disruption.batches(Answering.OWN)))
    record_evidence(checks.scaled(disruption.scale_helloworld(Role.PRIMARY, 0)))
    record_evidence(checks.failed_over(disruption.until(Answering.REMOTE)))
    record_evidence(checks.answered_as_it_should(disruption.batches(Answering.REMOTE)))
    record_evidence(checks.scaled(disruption.scale_helloworld(Role.PRIMARY, 1)))
    record_evidence(checks.prefers_own_network(disruption.until(Answering.OWN)))
    record_evidence(checks.answered_as_it_should(disruption.batches(Answering.OWN)))
