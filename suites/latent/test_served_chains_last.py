"""No certificate that proxies or istiod serve is invalid, and each has at least a fifth of its own life left.

Given  the client, helloworld and the gateways of a cluster, and the istiod that it finds
When   the chains that they serve are read: from each proxy's Envoy, and from istiod by a connection
Then   every certificate is valid, every issuer is a CA, and none has less than a fifth of its own life left
Why    istio/istio#31480: connections that are open outlive their certificates, and new ones are refused
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import NextPod, RecordEvidence
from splithorizon import checks


@behaviour(profile="core", latent=True, breaks_when=("istiod-certificate-ends-soon", "istiod-intermediate-expired"))
def test_served_chains_last(next_pod: NextPod, cluster_name: str, record_evidence: RecordEvidence) -> None:
    record_evidence(checks.chains_last(next_pod.served_chains(cluster_name), cluster_name))
