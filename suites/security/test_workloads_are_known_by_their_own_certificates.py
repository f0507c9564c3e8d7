"""Every proxy of a cluster, gateways included, has a valid certificate of its service account and no other.

Given  the certificates that each Envoy has, as it describes them itself
When   their SPIFFE identities and their times are read
Then   each names its own pod's service account, is valid, and has an hour left at least
Why    https://istio.io/latest/docs/concepts/security/#istio-identity; they live a day, and are renewed at half of it
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import MeshSecurity, RecordEvidence
from splithorizon import checks


@behaviour(profile="security", breaks_when="certificate-short-lived")
def test_workloads_are_known_by_their_own_certificates(
    security: MeshSecurity, cluster_name: str, record_evidence: RecordEvidence
) -> None:
    identities = security.workload_identities(cluster_name)
    record_evidence(checks.workloads_known_by_their_own(identities, cluster_name))
