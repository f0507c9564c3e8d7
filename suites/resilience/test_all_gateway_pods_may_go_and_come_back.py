"""While the remote's gateway has no pod the near version answers, and both do once it has one again.

Given  a remote gateway, and both versions answer
When   it is scaled to nothing, and back
Then   meanwhile the primary's client is answered by its own cluster and local traffic is whole, afterwards
       both versions answer both clients, by their own paths
Why    https://istio.io/latest/docs/ops/best-practices/deployment/: a cluster is of use on its own
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.nouns import Answering, Disruption, Prove, Role
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="remote-without-istiod")
def test_all_gateway_pods_may_go_and_come_back(gateway_disruption: Disruption, prove: Prove) -> None:
    prove(checks.scaled(gateway_disruption.scale_gateway(Role.REMOTE, 0)))
    prove(checks.goes_on_alone(gateway_disruption.until(Answering.ONE_WAY)))
    prove(checks.answered_as_it_should(gateway_disruption.local_batches(*Role)))
    prove(checks.scaled(gateway_disruption.scale_gateway(Role.REMOTE, 1)))
    prove(checks.gateway_recovered(gateway_disruption.until(Answering.BOTH)))
    prove(checks.answered_as_it_should(gateway_disruption.batches(Answering.BOTH)))
