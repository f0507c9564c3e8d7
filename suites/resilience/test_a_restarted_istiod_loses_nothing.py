"""Traffic does not notice that istiod is restarted, and the new istiod configures new pods in the remote.

Given  both clients send without a pause
When   istiod is restarted as `kubectl rollout restart` does, and then a remote pod is replaced
Then   no request is lost meanwhile, and the new pod, injected and configured by the new istiod, is reached
Why    https://istio.io/latest/docs/ops/deployment/architecture/: proxies serve on while their control plane is away
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.nouns import Answering, Disruption, Prove, Role
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="remote-without-istiod")
def test_a_restarted_istiod_loses_nothing(disruption: Disruption, prove: Prove) -> None:
    traffic = disruption.under_traffic(disruption.restart_istiod)
    prove(checks.istiod_started(traffic.recovery))
    prove(checks.nothing_lost(traffic))
    replacement = disruption.replace_helloworld(Role.REMOTE)
    prove(checks.scaled(replacement.recovery))
    prove(checks.recovered(disruption.until(Answering.BOTH)))
    batches = disruption.batches(Answering.BOTH)
    prove(checks.answered_as_it_should(batches))
    prove(checks.new_pod_answers(replacement, batches))
