"""A remote secret that is deleted and made again with a new token is followed: istiod watches its cluster with it.

Given  every client sends without a pause
When   the remote secret is deleted, made again with another token of the account, and then a pod there is replaced
Then   the pod that istiod can only know by the new token is the one that answers; losses meanwhile are recorded
Why    https://github.com/istio/istio/issues/60612: the way to a new token where istiod does not follow an update
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Disruption, RecordEvidence, Watch
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="reader-may-not-read")
def test_an_exchanged_remote_secret_is_followed(
    disruption: Disruption, watch: Watch, record_evidence: RecordEvidence
) -> None:
    everyone = disruption.expected.everyone
    traffic = disruption.under_traffic(disruption.remote_secret(watch).exchange)
    record_evidence(checks.new_token_followed(traffic.recovery))
    record_evidence(checks.losses_counted(traffic))
    replacement = disruption.helloworld(watch.watched).replace_pod()
    record_evidence(checks.new_token_followed(replacement.recovery))
    record_evidence(checks.new_token_followed(disruption.until(everyone)))
    batches = disruption.batches(everyone)
    record_evidence(checks.answered_as_it_should(batches))
    record_evidence(checks.new_pod_answers(replacement, batches))
