"""While the istiod of one primary is away, requests and the new pods of another primary are as before.

Given  a mesh with several primaries, and clients that send without a pause
When   the istiod of one is scaled to nothing, and then a helloworld pod of another primary is replaced
Then   no request is lost when it goes, and the new pod is injected, gets ready and answers the clients of all clusters
Why    https://istio.io/latest/docs/ops/deployment/deployment-models/#multiple-control-planes: an outage stays apart
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Disruption, RecordEvidence, Watch
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="other-primary-injects-nothing")
def test_an_istiod_away_leaves_other_primaries_alone(
    disruption: Disruption, two_primaries: Watch, record_evidence: RecordEvidence
) -> None:
    everyone = disruption.expected.everyone
    traffic = disruption.under_traffic(disruption.istiod(two_primaries.watching).stop)
    record_evidence(checks.scaled(traffic.recovery))
    record_evidence(checks.nothing_lost(traffic))
    replacement = disruption.helloworld(two_primaries.watched).replace_pod()
    record_evidence(checks.scaled(replacement.recovery))
    record_evidence(checks.recovered(disruption.until(everyone)))
    batches = disruption.batches(everyone)
    record_evidence(checks.answered_as_it_should(batches))
    record_evidence(checks.new_pod_answers(replacement, batches))
