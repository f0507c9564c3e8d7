"""A remote secret that is of no use leaves the rest of the mesh alone.

Given  a mesh whose remote secret works
When   it is deleted, and made again with a loopback address for a server, or with a token that the remote refuses
Then   the remote's endpoints stay away, the primary's version goes on answering both clients, and istiod stands
Why    https://github.com/istio/istio/issues/31081 and 6443: kind's own kubeconfig says loopback, and istiod once fell
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.nouns import Answering, Disruption, Flaw, Mesh, Prove, Role
from splithorizon import checks


@behaviour(profile="disruptive", breaks_when="remote-named-twice")
def test_a_bad_remote_secret_harms_nothing_near(mesh: Mesh, disruption: Disruption, flaw: Flaw, prove: Prove) -> None:
    before = mesh.primary.control_plane_readiness
    prove(checks.far_endpoints_left(disruption.spoil_remote_secret(flaw)))
    prove(checks.answered_as_it_should(disruption.batches(Answering.PRIMARY)))
    prove(checks.answered_as_it_should(disruption.local_batches(Role.PRIMARY)))
    prove(checks.stood(before, mesh.primary.control_plane_readiness))
