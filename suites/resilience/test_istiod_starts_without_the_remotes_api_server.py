"""An istiod that is started while the API server of another cluster is away gets ready, and local traffic goes on.

Given  a cluster whose API server is not reached where the remote secret says
When   istiod is restarted
Then   it is ready within the bound, local traffic is whole, and once the server is back so is every version
Why    https://github.com/istio/istio/issues/32102, 38440 and 45992: istiod was never ready, or without endpoints
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import ApiServerDisruption, Disruption, RecordEvidence, Watch
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="istiod-waits-for-every-remote")
def test_istiod_starts_without_the_remotes_api_server(
    disruption: Disruption, api_server: ApiServerDisruption, watch: Watch, record_evidence: RecordEvidence
) -> None:
    everyone, unwatched = disruption.expected.everyone, disruption.expected.unwatched(watch)
    record_evidence(checks.far_endpoints_left(api_server.cut()))
    record_evidence(checks.istiod_started(disruption.istiod(watch.watching).replace()))
    record_evidence(checks.answered_as_it_should(disruption.local_batches(watch.watching)))
    record_evidence(checks.answered_as_it_should(disruption.batches(unwatched)))
    api_server.reconnect()
    record_evidence(checks.recovered(disruption.until(everyone)))
    record_evidence(checks.answered_as_it_should(disruption.batches(everyone)))
