#!/bin/sh
# Broken, twice: cluster2's remote secret for cluster1 was written back from a repository without its label, so cluster2's istiod, restarted since,
# does not know cluster1, and its client is answered by v2 alone; and the Gateway that opens cluster2's services was applied in cluster1 alone, so
# cluster1's client meets a closed port where it looks for v2.
# Answer: Secret cluster2/istio-system/istio-remote-secret-cluster1: no label istio/multiCluster=true; and, beside it, Gateway
# cluster2/istio-system/cross-network-gateway does not exist, so nothing listens at port 15443 of cluster2's gateway.
# Kind: fault
# Shape: multi-primary
. "$(dirname "$0")/lib.sh"

inject() {
  cluster2 -n istio-system get gateway.networking.istio.io cross-network-gateway -o json > "$STATE/gateway.json"
  cluster2 -n istio-system label secret istio-remote-secret-cluster1 istio/multiCluster-
  restarted cluster2 istio-system istiod
  cluster2 -n istio-system delete gateway.networking.istio.io cross-network-gateway
  # Connections of a removed listener of the gateway stay open for its drainDuration, five seconds.
  sleep 6
  pushed
}

undo() {
  created_again cluster2 "$STATE/gateway.json"
  cluster2 -n istio-system label secret istio-remote-secret-cluster1 istio/multiCluster=true --overwrite
  restarted cluster2 istio-system istiod
  sleep 6
  pushed
}

"$1"
