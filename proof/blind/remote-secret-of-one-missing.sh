#!/bin/sh
# Broken: when cluster2 joined network1, cluster3 got no remote secret for it; istiod was restarted since. cluster3's client has no endpoint for v2.
# Of its connections to cluster1's gateway, which are meant for v1, that gateway leads some to v2's pod, which is on the same network: so all three
# versions may answer, v3 half of all requests. A Service of v2's pods alone has no endpoint there.
# Answer: Secret cluster3/istio-system/istio-remote-secret-cluster2 does not exist: cluster3's istiod does not know cluster2.
# Kind: fault
# Shape: three-clusters
. "$(dirname "$0")/lib.sh"

inject() {
  cluster3 -n istio-system get secret istio-remote-secret-cluster2 -o json > "$STATE/remote-secret.json"
  cluster3 -n istio-system delete secret istio-remote-secret-cluster2
  restarted cluster3 istio-system istiod
  pushed
}

undo() {
  created_again cluster3 "$STATE/remote-secret.json"
  restarted cluster3 istio-system istiod
  pushed
}

"$1"
