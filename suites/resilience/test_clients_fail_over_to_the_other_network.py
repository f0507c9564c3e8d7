"""Clients that prefer their own network fail over to others when theirs has no pod left, and come back.

Given  a DestinationRule with outlier detection that prefers endpoints of the client's own network
When   the helloworld of a primary is scaled to nothing, and back
Then   meanwhile what is left of a client's network answers, or else all other clusters, through gateways; before and
       after, its own network does; nothing is lost
Why    https://github.com/istio/istio/issues/33024 and 48084; upstream tests failover across networks in ambient only
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Disruption, RecordEvidence, Watch
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="rule-without-outlier-detection")
def test_clients_fail_over_to_the_other_network(
    disruption: Disruption, watch: Watch, record_evidence: RecordEvidence
) -> None:
    helloworld, own = disruption.helloworld(watch.watching), disruption.expected.own_network
    without = disruption.expected.failed_over(watch.watching)
    disruption.prefer_own_network()
    record_evidence(checks.prefers_own_network(disruption.until(own)))
    record_evidence(checks.answered_as_it_should(disruption.batches(own)))
    record_evidence(checks.scaled(helloworld.scale(0)))
    record_evidence(checks.failed_over(disruption.until(without)))
    record_evidence(checks.answered_as_it_should(disruption.batches(without)))
    record_evidence(checks.scaled(helloworld.scale(1)))
    record_evidence(checks.prefers_own_network(disruption.until(own)))
    record_evidence(checks.answered_as_it_should(disruption.batches(own)))
