"""A policy that names one account lets its client in from across the gateway, and refuses every other.

Given  an AuthorizationPolicy for helloworld, applied where each istiod reads, that admits by service account
When   it names an account that does not exist for one name of helloworld, and the client's own for another
Then   near and far pods answer 403 by the first name, and 200 by the second: the names only differ in whom they admit
Why    https://istio.io/latest/docs/concepts/security/#authorization-policies: principals need mutual TLS, end to end
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import AuthzResult, RecordEvidence
from splithorizon import checks


@behaviour(profile="security", breaks_when="everyone-admitted")
def test_identity_crosses_the_gateway(admission: AuthzResult, record_evidence: RecordEvidence) -> None:
    record_evidence(checks.admission_follows_identity(admission))
