"""Every proxy of a cluster is connected to istiod and has accepted all that it was sent.

Given  the sidecars and the gateways of a cluster
When   every istiod is asked what it has sent to each of its proxies, and what each has accepted
Then   each of those proxies is connected, and of clusters, listeners, routes and endpoints has accepted the latest
Why    istio/istio#50353, #42050: a gateway that refuses its listener of port 15443 goes on with the one before
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import RecordEvidence, Synchronisation
from splithorizon import checks


@behaviour(profile="core", breaks_when="cluster-refused")
def test_every_proxy_is_synced(
    synchronisation: Synchronisation, cluster_name: str, record_evidence: RecordEvidence
) -> None:
    record_evidence(checks.every_proxy_synced(synchronisation, cluster_name))
