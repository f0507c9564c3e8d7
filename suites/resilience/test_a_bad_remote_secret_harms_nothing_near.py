"""A remote secret that is of no use leaves the rest of the mesh alone.

Given  a mesh whose remote secret works
When   it is deleted, and made again with a loopback address for a server, or with a token that the remote refuses
Then   the remote's endpoints stay away, the primary's version goes on answering both clients, and istiod stands
Why    https://github.com/istio/istio/issues/31081 and 6443: kind's own kubeconfig says loopback, and istiod once fell
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Answering, BadSecret, Disruption, Mesh, RecordEvidence, Role
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="remote-named-twice")
def test_a_bad_remote_secret_harms_nothing_near(
    mesh: Mesh, disruption: Disruption, flaw: BadSecret, record_evidence: RecordEvidence
) -> None:
    before = mesh.primary.control_plane_readiness
    record_evidence(checks.far_endpoints_left(disruption.spoil_remote_secret(flaw)))
    record_evidence(checks.answered_as_it_should(disruption.batches(Answering.PRIMARY)))
    record_evidence(checks.answered_as_it_should(disruption.local_batches(Role.PRIMARY)))
    record_evidence(checks.stood(before, mesh.primary.control_plane_readiness))
