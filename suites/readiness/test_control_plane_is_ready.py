"""istiod is ready in every primary, and no remote runs one.

Given  primary clusters, which run istiod, and remote clusters, which do not
When   their system namespaces are read
Then   every istiod pod of a primary is ready with all its containers, and a remote has none
Why    https://istio.io/latest/docs/setup/install/multicluster/primary-remote_multi-network/
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Discovery, Mesh, RecordEvidence
from splithorizon import checks


@behaviour(profile="core", breaks_when="control-plane-never-ready")
def test_control_plane_is_ready(mesh: Mesh, discovery: Discovery, record_evidence: RecordEvidence) -> None:
    record_evidence(checks.istiod_runs_only_in(discovery.istiod_pods, list(mesh.istiods)))
