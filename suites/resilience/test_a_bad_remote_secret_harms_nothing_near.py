"""A remote secret that is of no use leaves the rest of the mesh alone.

Given  a mesh whose remote secret works
When   it is deleted, and made again with a loopback address for a server, or with a token that is refused
Then   its cluster's endpoints stay away, the other versions go on answering every client, and istiod stands
Why    https://github.com/istio/istio/issues/31081 and 6443: kind's own kubeconfig says loopback, and istiod once fell
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import BadSecret, Disruption, Mesh, RecordEvidence, Watch
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="remote-named-twice")
def test_a_bad_remote_secret_harms_nothing_near(
    mesh: Mesh, disruption: Disruption, watch: Watch, flaw: BadSecret, record_evidence: RecordEvidence
) -> None:
    near, unwatched = mesh[watch.watching], disruption.expected.unwatched(watch)
    before = near.control_plane_readiness
    record_evidence(checks.far_endpoints_left(disruption.remote_secret(watch).corrupt(flaw)))
    record_evidence(checks.answered_as_it_should(disruption.batches(unwatched)))
    record_evidence(checks.answered_as_it_should(disruption.local_batches(near.name)))
    record_evidence(checks.kept_running(before, near.control_plane_readiness, near.name))
