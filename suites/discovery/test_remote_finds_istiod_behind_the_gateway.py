"""A remote's proxies are led to istiod through its primary's gateway, and nowhere else.

Given  a remote cluster, which runs no istiod
When   the address at which its proxies look for istiod is resolved as its own API server tells it
Then   it leads to the gateway addresses of the primary that manages it, at istiod's port, and to all of them
Why    istio/istio#34867, #35682: the remote's Service for istiod has no pods; who writes its endpoints, and when?
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Cluster, Discovery, Mesh, RecordEvidence
from splithorizon import checks


@behaviour(profile="core", latent=True, breaks_when="istiod-address-stale")
def test_remote_finds_istiod_behind_the_gateway(
    mesh: Mesh, discovery: Discovery, managed_cluster: Cluster, record_evidence: RecordEvidence
) -> None:
    name = managed_cluster.name
    asked, found = discovery.istiod_address(name), discovery.istiod_endpoints(name)
    gateways, connected = mesh.control_plane_of(name).info.gateways, discovery.reached_otherwise(name)
    record_evidence(checks.istiod_found_behind(asked, found, name, gateway=gateways, connected=connected))
