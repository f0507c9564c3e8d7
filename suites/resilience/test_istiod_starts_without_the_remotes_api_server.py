"""An istiod that is started while the remote's API server is away gets ready, and local traffic goes on.

Given  a remote whose API server is not reached where the remote secret says
When   istiod is started anew
Then   it is ready within the bound, local traffic is whole, and once the server is back so are both versions
Why    https://github.com/istio/istio/issues/32102, 38440 and 45992: istiod was never ready, or without endpoints
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Answering, Disruption, RecordEvidence, Role
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="istiod-waits-for-every-remote")
def test_istiod_starts_without_the_remotes_api_server(
    api_server_disruption: Disruption, record_evidence: RecordEvidence
) -> None:
    record_evidence(checks.far_endpoints_left(api_server_disruption.lose_remote_api_server()))
    record_evidence(checks.istiod_started(api_server_disruption.replace_istiod()))
    record_evidence(checks.answered_as_it_should(api_server_disruption.local_batches(Role.PRIMARY)))
    record_evidence(checks.answered_as_it_should(api_server_disruption.batches(Answering.PRIMARY)))
    api_server_disruption.give_remote_api_server_back()
    record_evidence(checks.recovered(api_server_disruption.until(Answering.BOTH)))
    record_evidence(checks.answered_as_it_should(api_server_disruption.batches(Answering.BOTH)))
