"""Each version of helloworld runs in one cluster, and nowhere else.

Given  helloworld deployed by version
When   the helloworld pods of all clusters are counted by version
Then   each is found in its own cluster alone
Why    with every version in every cluster, "saw v1 and v2" passes with no traffic between them at all
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Discovery, Mesh, RecordEvidence
from splithorizon import checks


@behaviour(profile="core", breaks_when="both-versions-everywhere")
def test_each_version_runs_in_one_cluster(mesh: Mesh, discovery: Discovery, record_evidence: RecordEvidence) -> None:
    expected = mesh.info.workload_versions
    record_evidence(checks.versions_run_only_in(discovery.running_versions, expected=expected))
