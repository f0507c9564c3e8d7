"""A remote secret that is of no use leaves the rest of the mesh alone.

Given  a mesh whose remote secret works
When   it is replaced by one whose server is a loopback address, or whose token the remote refuses
Then   the remote's endpoints leave, the primary's version goes on answering both clients, and istiod stays ready
Why    https://github.com/istio/istio/issues/31081 and 6443: kind's own kubeconfig says loopback, and istiod once fell
Breaks when  a second secret, of a name from before, still names the remote
Profile  disruptive
"""

from __future__ import annotations

from fixtures.nouns import Answering, Disruption, Flaw, Mesh, Prove, Role
from splithorizon import checks


def test_a_bad_remote_secret_harms_nothing_near(mesh: Mesh, disruption: Disruption, flaw: Flaw, prove: Prove) -> None:
    disruption.spoil_remote_secret(flaw)
    prove(checks.far_endpoints_left(disruption.until(Answering.PRIMARY)))
    prove(checks.answered_as_it_should(disruption.batches(Answering.PRIMARY)))
    prove(checks.answered_as_it_should(disruption.local_batches(Role.PRIMARY)))
    prove(checks.ready(mesh.primary.control_plane_readiness))
