"""A remote secret that is of no use leaves the rest of the mesh alone, and the good one written over it heals.

Given  a mesh whose remote secret works
When   it is replaced by one whose server is a loopback address, or whose token the remote refuses
Then   the primary's version goes on answering both clients, istiod stays ready, and the good one brings all back
Why    https://github.com/istio/istio/issues/58047 and 31081: istiod did not pick up the mended secret
Breaks when  the remote no longer lets Istio's reader account read: the good secret is of no use either
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
    disruption.mend_remote_secret()
    prove(checks.recovered(disruption.until(Answering.BOTH)))
    prove(checks.answered_as_it_should(disruption.batches(Answering.BOTH)))
