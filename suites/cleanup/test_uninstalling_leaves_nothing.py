"""Uninstalling leaves every cluster as it was before.

Given  every object that each cluster held before Istio came
When   the workloads and Istio are taken out of each cluster, the primaries last, as Istio's documents say
Then   each cluster holds the same objects again, and each says what it said
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
