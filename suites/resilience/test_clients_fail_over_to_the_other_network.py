"""Clients that prefer their own network fail over to the other through its gateway, and come back.

Given  a DestinationRule with outlier detection that prefers endpoints of the client's own network
When   the primary's helloworld is scaled to nothing, and back
Then   meanwhile the remote's version answers all, through its gateway, nothing is lost; before and after, each its own
Why    https://github.com/istio/istio/issues/33024 and 48084; upstream tests failover across networks in ambient only
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.nouns import Answering, Disruption, Prove, Role
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="rule-without-outlier-detection")
def test_clients_fail_over_to_the_other_network(disruption: Disruption, prove: Prove) -> None:
    disruption.prefer_own_network()
    prove(checks.prefers_own_network(disruption.until(Answering.OWN)))
    prove(checks.answered_as_it_should(disruption.batches(Answering.OWN)))
    prove(checks.scaled(disruption.scale_helloworld(Role.PRIMARY, 0)))
    prove(checks.failed_over(disruption.until(Answering.REMOTE)))
    prove(checks.answered_as_it_should(disruption.batches(Answering.REMOTE)))
    prove(checks.scaled(disruption.scale_helloworld(Role.PRIMARY, 1)))
    prove(checks.prefers_own_network(disruption.until(Answering.OWN)))
    prove(checks.answered_as_it_should(disruption.batches(Answering.OWN)))
