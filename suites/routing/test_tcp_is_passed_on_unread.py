"""What is declared as TCP reaches pods in every network as it was sent, unread.

Given  a port of the service whose name says tcp
When   a client opens connections to it a fixed number of times
Then   every one is answered, no sidecar added anything to what was sent, and every network answers
Why    https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Exchanging, Mesh, Protocol, RecordEvidence, Route
from splithorizon import checks


@behaviour(profile="extended", breaks_when="ports-misnamed")
def test_tcp_is_passed_on_unread(
    mesh: Mesh, exchange: Exchanging, route: Route, record_evidence: RecordEvidence
) -> None:
    groups = mesh.version_groups(route.near)
    record_evidence(checks.carried(exchange(route, Protocol.TCP), route, Protocol.TCP, groups=groups))
