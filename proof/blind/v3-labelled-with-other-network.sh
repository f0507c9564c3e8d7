#!/bin/sh
# Broken: v3's Deployment in cluster3 was copied from a pod of cluster2, with the label that the injection had added there, and its pod was created
# again since. istiod takes v3 for a pod of network1: the clients of cluster1 and cluster2 dial its address directly, and cluster3's client, which is
# beside it, is sent to network1's gateways for it. Nobody reaches v3.
# Answer: Deployment cluster3/sample/helloworld-v3: pod label topology.istio.io/network=network1, and cluster3's network is network2.
# Kind: fault
# Shape: three-clusters
. "$(dirname "$0")/lib.sh"

network() {
  cluster3 -n sample patch deployment helloworld-v3 --type merge \
    -p "{\"spec\": {\"template\": {\"metadata\": {\"labels\": {\"topology.istio.io/network\": $1}}}}}"
  rolled cluster3 sample helloworld-v3
  pushed
}

inject() { network '"network1"'; }

undo() { network null; }

"$1"
