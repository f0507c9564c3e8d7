"""Every webhook by which a cluster's API server calls istiod trusts the mesh's root.

Given  the mutating and validating webhooks of a cluster that belong to the mesh's revision
When   their CA bundles are read
Then   none is empty; each holds certificates that are valid now, and the root that the mesh's workloads trust
Why    istio/istio#42327: with an empty bundle in a remote no gateway and no sidecar comes to be, long after set-up
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Discovery, Mesh, RecordEvidence
from splithorizon import checks


@behaviour(profile="extended", latent=True, breaks_when="webhook-bundles-empty")
def test_webhooks_trust_the_mesh_root(
    mesh: Mesh, discovery: Discovery, cluster_name: str, record_evidence: RecordEvidence
) -> None:
    root = discovery.root_bundle(mesh.control_plane_of(cluster_name).name)
    bundles, served = discovery.webhook_bundles(cluster_name), discovery.istiod_certificates(cluster_name)
    record_evidence(checks.webhooks_hold_root(bundles, cluster_name, root=root, served=served))
