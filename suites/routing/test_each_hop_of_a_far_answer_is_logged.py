"""Every answer from the far version is logged by each proxy on its way, and each hop leads to the next.

Given  a name of its own for helloworld in every network, and a separate connection for each request to it
When   the client sends a fixed number of requests, none of them sent again, and the logs are joined for each answer
Then   the near sidecar sent it to the far gateway, a pod of that gateway passed it on under the service's name (SNI),
       and to the socket that this gave the connection, a pod of the far cluster logged the same request id. Within one
       network the far pod saw the client's own address. Each version has its exact share, whatever gateway is before it
Why    a client's log ends at an address: it cannot tell who answers there, nor where that leads
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Mesh, RecordEvidence, TracedBatch
from splithorizon import checks


@behaviour(profile="extended", every_pair=True, breaks_when="gateway-bypassed")
def test_each_hop_of_a_far_answer_is_logged(
    mesh: Mesh, traced_batch: TracedBatch, record_evidence: RecordEvidence
) -> None:
    mode, versions, sample = mesh.info.network_mode, mesh.info.workload_versions, traced_batch.sample
    record_evidence(checks.each_hop_leads_to_the_next(traced_batch, mode=mode))
    record_evidence(checks.both_versions_answer(sample.replies, sample.route, versions=versions, mode=mode))
