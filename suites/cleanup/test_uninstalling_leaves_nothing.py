"""Uninstalling leaves both clusters as they were before.

Given  every object that both clusters held before Istio came
When   the workloads and Istio are taken out of the remote and then of the primary, as Istio's documents say
Then   both clusters hold the same objects again, and each says what it said
Why    https://github.com/istio/istio/issues/23706 and 28238: what an installation leaves meets the next one
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import RecordEvidence, Uninstallation
from splithorizon import checks


@behaviour(profile="cleanup", breaks_when=("left-by-an-earlier-installation", "kept-by-a-finalizer"))
def test_uninstalling_leaves_nothing(uninstallation: Uninstallation, record_evidence: RecordEvidence) -> None:
    uninstallation.uninstall()
    record_evidence(checks.every_cluster_as_before(uninstallation.remains))
