"""A rule that is applied in one primary binds the clients that its istiod manages, and no others.

Given  a mesh with several primaries, each of which reads the configuration of its own cluster
When   a VirtualService in one of them answers every request for helloworld with status 418
Then   the clients that its istiod manages get nothing else, and every other client is answered by helloworld
Why    https://istio.io/latest/docs/ops/deployment/deployment-models/#multiple-control-planes: each reads its own rules
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import BoundClients, RecordEvidence
from splithorizon import checks


@behaviour(profile="extended", breaks_when="answered-by-another-rule")
def test_a_rule_binds_the_clients_of_its_own_primary(
    bound_clients: BoundClients, record_evidence: RecordEvidence
) -> None:
    record_evidence(checks.rule_binds_own_clients(bound_clients))
