"""HTTP/2 from a client is HTTP/2 at the pod that answers, in every network.

Given  a port of the service whose name says http2
When   a client sends requests by HTTP/2 a fixed number of times
Then   every one arrives as HTTP/2, known to the sidecars as such, and every network answers
Why    https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Exchanging, Mesh, Protocol, RecordEvidence, Route
from splithorizon import checks


@behaviour(profile="extended", breaks_when="ports-misnamed")
def test_http2_stays_http2(mesh: Mesh, exchange: Exchanging, route: Route, record_evidence: RecordEvidence) -> None:
    groups = mesh.version_groups(route.near)
    record_evidence(checks.carried(exchange(route, Protocol.HTTP2), route, Protocol.HTTP2, groups=groups))
