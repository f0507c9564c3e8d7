"""Requests that each need a new connection to the far network are answered, as fast as most of them.

Given  a Service whose pods are in another network alone, at a TCP port: no connection is kept, none is tried again
When   the client sends rounds of requests at once, each on a connection of its own, and some to a near pod
Then   of the connections through the far gateway no more than chance gives at 1 % fail, or take 0.9 s beyond the median
Why    sidecars keep connections and try again elsewhere, and TCP sends a lost packet again: requests hide all of it
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Mesh, NewConnections, RecordEvidence
from splithorizon import checks


@behaviour(profile="core", breaks_when=("connections-dropped-on-the-way", "handshakes-dropped", "packets-lost"))
def test_new_connections_reach_the_far_network(
    mesh: Mesh, new_connections: NewConnections, record_evidence: RecordEvidence
) -> None:
    record_evidence(checks.new_connections_made(new_connections, mode=mesh.info.network_mode))
