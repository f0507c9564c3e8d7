"""A new proxy of a remote reaches istiod at its primary's gateway, and so does the remote's API server.

Given  a remote cluster without an istiod of its own, and what its pods and its webhooks trust
When   a pod of the remote begins TLS at its primary's gateway, past its sidecar, at the ports of proxies and webhooks
Then   each address of the gateway serves istiod's certificate by the name that was asked for, of a trusted root
Why    istio/istio#34867: proxies keep their connections to istiod for half an hour, and only a new one notices
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Cluster, IstiodProbe, RecordEvidence
from splithorizon import checks


@behaviour(profile="core", latent=True, breaks_when=("istiod-port-leads-elsewhere", "webhook-port-leads-elsewhere"))
def test_new_proxies_reach_istiod(
    istiod_probes: list[IstiodProbe], managed_cluster: Cluster, record_evidence: RecordEvidence
) -> None:
    record_evidence(checks.istiod_reached(istiod_probes, managed_cluster.name))
