"""The good remote secret, written over one that was of no use, brings its cluster back.

Given  a mesh whose remote secret has a loopback address for a server, or a token that is refused
When   the good one is written over it, as `kubectl apply` does
Then   every version answers every client again, each by its own path
Why    https://github.com/istio/istio/issues/58047 and 60612: istiod did not pick up the mended secret
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import BadSecret, Disruption, RecordEvidence, Watch
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="reader-may-not-read")
def test_a_mended_remote_secret_is_followed(
    disruption: Disruption, watch: Watch, flaw: BadSecret, record_evidence: RecordEvidence
) -> None:
    secret, everyone = disruption.remote_secret(watch), disruption.expected.everyone
    record_evidence(checks.far_endpoints_left(secret.corrupt(flaw)))
    secret.restore()
    record_evidence(checks.recovered(disruption.until(everyone)))
    record_evidence(checks.answered_as_it_should(disruption.batches(everyone)))
