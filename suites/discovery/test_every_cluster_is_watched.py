"""Every istiod watches every cluster of the mesh, and each remote secret can be used from where istiod is.

Given  a mesh whose istiods each watch every other cluster
When   every istiod is asked which clusters it watches, and the remote secrets of all clusters are read
Then   each has every cluster synced; a secret's data key is its cluster's id, its server no loopback address; a cluster
       of the suite's own that runs no istiod holds none
Why    istio/istio#58047, #31081, #41104, and #61043: a cluster that istiod has lost serves on from what it knew last
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Discovery, Mesh, RecordEvidence
from splithorizon import checks


@behaviour(profile="core", breaks_when="remote-secret-at-loopback")
def test_every_cluster_is_watched(mesh: Mesh, discovery: Discovery, record_evidence: RecordEvidence) -> None:
    ids = {name: cluster.cluster_id for name, cluster in mesh.info.clusters.items()}
    secrets, unread = discovery.remote_secrets, discovery.unread_secrets
    record_evidence(checks.remote_secrets_usable(secrets, ids=ids, unread=unread))
    record_evidence(checks.every_cluster_watched(discovery.watched_clusters, mesh.cluster_ids))
