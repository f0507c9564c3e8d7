"""A pod that is created now gets a sidecar for its network and cluster, by webhooks that lead to an istiod they trust.

Given  our namespace in a cluster of the mesh
When   a pod is created there as a dry run, and each injection webhook of the mesh's revision is followed to its end
Then   the pod gets a sidecar with the cluster's network, id and revision; each webhook's Service and port exist, and
       what answers there has a certificate of istiod that the webhook's CA bundle verifies
Why    istio/istio#42327: traffic goes on without webhooks, and the next pod is refused or stays outside the mesh
"""

from __future__ import annotations

from fixtures.behaviours import behaviour
from fixtures.types import Cluster, NextPod, RecordEvidence
from splithorizon import checks


@behaviour(profile="core", latent=True, breaks_when=("webhook-leads-nowhere", "webhook-trusts-another-root"))
def test_new_pods_are_injected(
    next_pod: NextPod, cluster: Cluster, cluster_name: str, record_evidence: RecordEvidence
) -> None:
    known = {"network": cluster.info.network, "cluster_id": cluster.info.cluster_id}
    known["revision"] = next_pod.revision(cluster_name)
    record_evidence(checks.new_pod_injected(next_pod.admitted(cluster_name), cluster_name, **known))
    webhooks, probes = next_pod.webhooks(cluster_name), next_pod.webhook_probes(cluster_name)
    record_evidence(checks.webhooks_lead_to_istiod(webhooks, probes, cluster_name))
