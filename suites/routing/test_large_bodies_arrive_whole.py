"""A body of 1 MiB arrives whole in every network, and comes back whole.

Given  helloworld in every network, which sends back what it gets
When   a client sends a megabyte of random bytes a fixed number of times
Then   every body comes back the same, and every network had a part in it
Why    the frames of a megabyte cross every proxy's buffers; a small request shows none of that
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Exchanging, Mesh, Protocol, RecordEvidence, Route
from splithorizon import checks


@behaviour(profile="extended", breaks_when="bodies-limited")
def test_large_bodies_arrive_whole(
    mesh: Mesh, exchange: Exchanging, route: Route, record_evidence: RecordEvidence
) -> None:
    groups = mesh.version_groups(route.near)
    record_evidence(checks.carried(exchange(route, Protocol.LARGE_BODY), route, Protocol.LARGE_BODY, groups=groups))
