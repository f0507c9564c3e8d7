#!/bin/sh
# Broken: cluster2's system namespace says that cluster3 manages it, as was once planned, so cluster1's istiod, restarted since, writes nothing into
# cluster2. A clean-up removed the ConfigMap with the mesh's root from the workloads' namespace, nobody writes it again, and v2 was created again
# since: its pod waits for that ConfigMap. No client reaches v2.
# Answer: Namespace cluster2/istio-system: annotation topology.istio.io/controlPlaneClusters=cluster3, and its istiod is cluster1's: ConfigMap
# cluster2/sample/istio-ca-root-cert is missing, which v2's pod mounts (FailedMount).
# Kind: fault
# Shape: three-clusters
. "$(dirname "$0")/lib.sh"

managed_by() {
  # istiod reads the annotation when it meets a cluster. The old one must be gone: it writes the ConfigMap until it ends.
  cluster1 -n istio-system scale deployment istiod --replicas=0
  cluster1 -n istio-system wait --for=delete pod -l app=istiod --timeout=90s
  cluster2 annotate namespace istio-system "topology.istio.io/controlPlaneClusters=$1" --overwrite
  cluster1 -n istio-system scale deployment istiod --replicas=1
  rolled cluster1 istio-system istiod
  # Proxies that lost istiod ask again after up to half a minute; new pods of cluster2 need it behind cluster1's gateway.
  sleep 20
}

inject() {
  managed_by cluster3
  cluster2 -n sample delete configmap istio-ca-root-cert
  cluster2 -n sample delete pod -l app=helloworld
  pushed
}

undo() {
  managed_by cluster1
  cluster2 -n sample wait --for=create configmap/istio-ca-root-cert --timeout=90s
  # The kubelet tries a mount again only after minutes.
  cluster2 -n sample delete pod -l app=helloworld
  rolled cluster2 sample helloworld-v2
  pushed
}

"$1"
