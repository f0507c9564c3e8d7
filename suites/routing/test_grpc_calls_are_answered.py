"""gRPC calls are answered from every network, with the status that ends them.

Given  a port of the service whose name says grpc, and the health service of gRPC
When   a client calls it a fixed number of times
Then   every call ends with status 0 in its trailers, and every network answers
Why    trailers are lost where any proxy on the way speaks HTTP/1.1
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Exchanging, Mesh, Protocol, RecordEvidence, Route
from splithorizon import checks


@behaviour(profile="extended", breaks_when="ports-misnamed")
def test_grpc_calls_are_answered(
    mesh: Mesh, exchange: Exchanging, route: Route, record_evidence: RecordEvidence
) -> None:
    groups = mesh.version_groups(route.near)
    record_evidence(checks.carried(exchange(route, Protocol.GRPC), route, Protocol.GRPC, groups=groups))
