"""A new token that is written into the remote secret costs no request, and istiod watches the remote with it.

Given  both clients send without a pause
When   another token of the same account is written into the remote secret, and then a remote pod is replaced
Then   no request is lost meanwhile, and the pod that istiod can only know by the new token is the one that answers
Why    https://github.com/istio/istio/issues/60612 and 61043: fine at installation, broken by the first rotation
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.nouns import Answering, Disruption, Prove, Role
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="reader-may-not-read")
def test_a_rotated_remote_secret_loses_nothing(disruption: Disruption, prove: Prove) -> None:
    traffic = disruption.under_traffic(disruption.rotate_remote_secret)
    prove(checks.new_token_followed(traffic.recovery))
    prove(checks.nothing_lost(traffic))
    prove(checks.new_token_followed(disruption.until(Answering.BOTH)))
    prove(checks.new_token_followed(disruption.use_new_token()))
    replacement = disruption.replace_helloworld(Role.REMOTE)
    prove(checks.new_token_followed(replacement.recovery))
    prove(checks.new_token_followed(disruption.until(Answering.BOTH)))
    batches = disruption.batches(Answering.BOTH)
    prove(checks.answered_as_it_should(batches))
    prove(checks.new_pod_answers(replacement, batches))
