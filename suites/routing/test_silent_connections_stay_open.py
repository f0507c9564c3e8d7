"""A connection that is silent for 16 seconds stays open, and leads to the same pod, in every network.

Given  a port of the service whose name says tcp
When   a client opens a fixed number of connections at once, and each is answered, silent for 16 s, and answered again
Then   every connection carries all of it without being reopened, and every network answers
Why    https://github.com/istio/istio/issues/24387: proxies closed connections that were merely silent
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Exchanging, Mesh, Protocol, RecordEvidence, Route
from splithorizon import checks


@behaviour(profile="extended", breaks_when="silence-limited")
def test_silent_connections_stay_open(
    mesh: Mesh, slow_exchange: Exchanging, route: Route, record_evidence: RecordEvidence
) -> None:
    groups = mesh.version_groups(route.near)
    record_evidence(checks.carried(slow_exchange(route, Protocol.SILENCE), route, Protocol.SILENCE, groups=groups))
