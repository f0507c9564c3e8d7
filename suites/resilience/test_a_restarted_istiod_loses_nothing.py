"""Traffic does not notice that istiod is restarted, and the new istiod configures new pods.

Given  every client sends without a pause
When   istiod is restarted as `kubectl rollout restart` does, and then a pod that it configures is replaced
Then   no request is lost meanwhile, and the new pod, injected and configured by the new istiod, is reached
Why    https://istio.io/latest/docs/ops/deployment/architecture/: proxies serve on while their control plane is away
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Disruption, RecordEvidence, Watch
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="remote-without-istiod")
def test_a_restarted_istiod_loses_nothing(
    disruption: Disruption, watch: Watch, record_evidence: RecordEvidence
) -> None:
    everyone = disruption.expected.everyone
    traffic = disruption.under_traffic(disruption.istiod(watch.watching).restart)
    record_evidence(checks.istiod_started(traffic.recovery))
    record_evidence(checks.nothing_lost(traffic))
    replacement = disruption.helloworld(disruption.configured_by(watch.watching)).replace_pod()
    record_evidence(checks.scaled(replacement.recovery))
    record_evidence(checks.recovered(disruption.until(everyone)))
    batches = disruption.batches(everyone)
    record_evidence(checks.answered_as_it_should(batches))
    record_evidence(checks.new_pod_answers(replacement, batches))
