"""A request that is answered only after 16 seconds is answered, from every network.

Given  helloworld in every network, which can take its time
When   a client sends a fixed number of requests at once that take 16 s each
Then   every one is answered, and every network answers
Why    a connection that is silent for a while is what time-outs close first; 15 s was Istio's own for a route
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Exchanging, Mesh, Protocol, RecordEvidence, Route
from splithorizon import checks


@behaviour(profile="extended", breaks_when="requests-limited")
def test_long_waits_are_waited_out(
    mesh: Mesh, slow_exchange: Exchanging, route: Route, record_evidence: RecordEvidence
) -> None:
    groups = mesh.version_groups(route.near)
    record_evidence(checks.carried(slow_exchange(route, Protocol.LONG_WAIT), route, Protocol.LONG_WAIT, groups=groups))
