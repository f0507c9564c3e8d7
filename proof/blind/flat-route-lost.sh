#!/bin/sh
# Broken: cluster1's side of the flat network lost its route to cluster2's pods: neither cluster's pods reach those of the other by their address, and
# all endpoints say that they do. The clients were restarted since, so that they need new connections. cluster3 is reached from both through its
# gateway, and the gateway of each cluster still reaches the pods beside it.
# Answer: no object of Kubernetes or Istio has it: "no known cause fits", or that the pods of cluster1 and cluster2, both on network1, do not reach
# each other's addresses.
# Kind: unknowable
# Shape: three-clusters
. "$(dirname "$0")/lib.sh"

renewed() {
  for cluster in cluster1 cluster2 cluster3; do
    restarted "$cluster" sample sleep
  done
  pushed
}

inject() {
  cluster1_node ip route show 10.20.0.0/16 > "$STATE/route"
  grep -q via "$STATE/route"
  cluster1_node ip route del 10.20.0.0/16
  renewed
}

undo() {
  # The words of the route are arguments.
  # shellcheck disable=SC2046
  cluster1_node ip route replace $(cat "$STATE/route")
  renewed
}

"$1"
