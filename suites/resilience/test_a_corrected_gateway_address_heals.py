"""A gateway's address that was wrong and is corrected is followed at once: istiod is not restarted.

Given  every version answers
When   istiod gets another address for a gateway, at which nothing answers, and then the right one again
Then   the sidecars follow it both ways, nothing is lost where the address refuses at once, and every version is back
Why    https://github.com/istio/istio/issues/11221 and 29359: an address was not resolved or read again until a restart
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Disruption, RecordEvidence, Watch
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="gateway-address-named-twice")
def test_a_corrected_gateway_address_heals(
    disruption: Disruption, watch: Watch, record_evidence: RecordEvidence
) -> None:
    everyone, name = disruption.expected.everyone, watch.watched
    disruption.gateway(name).set_wrong_address()
    record_evidence(checks.wrong_address_followed(disruption.until(disruption.expected.without_gateway(name))))
    disruption.restore()
    record_evidence(checks.gateway_recovered(disruption.until(everyone)))
    record_evidence(checks.answered_as_it_should(disruption.batches(everyone)))
