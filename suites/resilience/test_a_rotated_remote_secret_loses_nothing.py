"""A new token that is written into the remote secret costs no request, and istiod watches its cluster with it.

Given  every client sends without a pause
When   another token of the same account is written into the remote secret, and then a pod there is replaced
Then   no request is lost meanwhile, and the pod that istiod can only know by the new token is the one that answers
Why    https://github.com/istio/istio/issues/60612 and 61043: fine at installation, broken by the first rotation
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Disruption, RecordEvidence, Watch
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="reader-may-not-read")
def test_a_rotated_remote_secret_loses_nothing(
    disruption: Disruption, watch: Watch, record_evidence: RecordEvidence
) -> None:
    secret, everyone = disruption.remote_secret(watch), disruption.expected.everyone
    traffic = disruption.under_traffic(secret.rotate)
    record_evidence(checks.new_token_followed(traffic.recovery))
    record_evidence(checks.nothing_lost(traffic))
    record_evidence(checks.new_token_followed(disruption.until(everyone)))
    record_evidence(checks.new_token_followed(secret.await_new_token()))
    replacement = disruption.helloworld(watch.watched).replace_pod()
    record_evidence(checks.new_token_followed(replacement.recovery))
    record_evidence(checks.new_token_followed(disruption.until(everyone)))
    batches = disruption.batches(everyone)
    record_evidence(checks.answered_as_it_should(batches))
    record_evidence(checks.new_pod_answers(replacement, batches))
