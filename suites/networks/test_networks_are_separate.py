"""No pod of one network reaches a pod of another by its own address.

Given  a client, and the addresses of a helloworld pod in its cluster and of one in another network
When   the client asks both pods' agents directly, past every service
Then   the pod of the client's network answers and the other does not; clusters of the suite refuse it at once
Why    were the networks one, traffic could pass without any gateway and every other check would mean less
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Attempt, Mesh, RecordEvidence, Route
from splithorizon import checks


@behaviour(profile="core", breaks_when="networks-joined")
def test_networks_are_separate(mesh: Mesh, route: Route, far_dial: Attempt, record_evidence: RecordEvidence) -> None:
    near = mesh[route.near].client.dial_pod(mesh[route.near].helloworld_pod)
    record_evidence(checks.networks_are_separate(route, near=near, far=far_dial, refused=mesh.info.owned))
