"""Every gateway and every sidecar of ours has a version of Istio that its istiod supports.

Given  the sidecars and the gateways of a cluster, and the istiods that they are connected to
When   every istiod is asked for its own version and for that of each of its proxies
Then   each of those proxies has its istiod's minor version or the one before it; other workloads' are counted
Why    istio.io/docs/releases/supported-releases: a data plane is at most one minor version behind, and never ahead
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import ProxyVersions, RecordEvidence
from splithorizon import checks


@behaviour(profile="extended", breaks_when="gateway-of-an-old-version")
def test_proxy_versions_are_supported(
    proxy_versions: ProxyVersions, cluster_name: str, record_evidence: RecordEvidence
) -> None:
    record_evidence(checks.proxy_versions_supported(proxy_versions, cluster_name))
