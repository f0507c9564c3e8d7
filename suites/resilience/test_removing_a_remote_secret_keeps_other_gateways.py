"""When istiod no longer watches one of several clusters, it keeps the gateways of the others.

Given  an istiod that watches several clusters on other networks
When   the remote secret of one of them is deleted, and made again
Then   sidecars lose that cluster's endpoints and no other; requests go by the gateways that are left, and then by all,
       and new connections to pods of that cluster alone are made
Why    https://github.com/istio/istio/issues/60920: gateways of other clusters went too, and pods took their place
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Disruption, Mesh, RecordEvidence, Watch
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when=("kept-gateway-without-network", "kept-network-without-gateway"))
def test_removing_a_remote_secret_keeps_other_gateways(
    mesh: Mesh, disruption: Disruption, watch_beside_another: Watch, record_evidence: RecordEvidence
) -> None:
    watch, everyone = watch_beside_another, disruption.expected.everyone
    unwatched = disruption.expected.unwatched(watch)
    disruption.remote_secret(watch).remove()
    record_evidence(checks.other_gateways_stay(disruption.until_held(unwatched)))
    record_evidence(checks.answered_as_it_should(disruption.batches(unwatched)))
    disruption.restore()
    record_evidence(checks.recovered(disruption.until_held(everyone)))
    record_evidence(checks.answered_as_it_should(disruption.batches(everyone)))
    record_evidence(checks.new_connections_made(disruption.new_connections(watch), mode=mesh.info.network_mode))
