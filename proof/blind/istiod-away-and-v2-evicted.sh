#!/bin/sh
# Broken: cluster2's istiod was scaled to nothing for a maintenance and forgotten, and v2's pod was evicted since. The API server cannot ask the
# injection webhook, so it refuses every new pod: v2 has none. cluster1's istiod knows that v2 is gone; the proxies of cluster2 keep its old address.
# Answer: Deployment cluster2/istio-system/istiod: spec.replicas=0: v2's ReplicaSet may not create its pod (FailedCreate, failed calling webhook).
# Kind: fault
# Shape: multi-primary
. "$(dirname "$0")/lib.sh"

inject() {
  cluster2 -n istio-system scale deployment istiod --replicas=0
  cluster2 -n istio-system wait --for=delete pod -l app=istiod --timeout=90s
  cluster2 -n sample delete pod -l app=helloworld
  pushed
}

undo() {
  cluster2 -n istio-system scale deployment istiod --replicas=1
  rolled cluster2 istio-system istiod
  # The old ReplicaSet asks for its pod again only after minutes, a new one at once.
  restarted cluster2 sample helloworld-v2
  # A proxy that lost istiod asks again after up to half a minute.
  sleep 15
  pushed
}

"$1"
