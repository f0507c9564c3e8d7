"""A removed remote secret takes its cluster's endpoints away, and brings them back with itself.

Given  every version answers every client
When   the remote secret by which an istiod watches a cluster is deleted, and made again
Then   meanwhile the other versions answer the clients of that istiod; afterwards every one does, by its own path, and
       new connections to pods of that cluster alone are made
Why    https://github.com/istio/istio/issues/27187, 36365 and 39366: endpoints or watchers outlived their secret; and
       59474: clients refused the pods that came back, for their trust domain was not read
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Disruption, Mesh, RecordEvidence, Watch
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="remote-named-twice")
def test_a_removed_remote_secret_is_forgotten_and_found_again(
    mesh: Mesh, disruption: Disruption, watch: Watch, record_evidence: RecordEvidence
) -> None:
    everyone, unwatched = disruption.expected.everyone, disruption.expected.unwatched(watch)
    disruption.remote_secret(watch).remove()
    record_evidence(checks.far_endpoints_left(disruption.until(unwatched)))
    record_evidence(checks.answered_as_it_should(disruption.batches(unwatched)))
    disruption.restore()
    record_evidence(checks.recovered(disruption.until(everyone)))
    record_evidence(checks.answered_as_it_should(disruption.batches(everyone)))
    record_evidence(checks.new_connections_made(disruption.new_connections(watch), mode=mesh.info.network_mode))
