#!/bin/sh
# Broken: for an old client, v1 was told to take plain text alone, by a policy in cluster1. cluster1's client follows it and is answered by both
# versions. cluster2's istiod does not read that policy, so its client still sends to cluster1's gateway, which has no endpoint with mutual TLS for
# v1 and closes the connection: cluster2's client does not reach v1.
# Answer: PeerAuthentication cluster1/sample/v1-plain: mtls.mode=DISABLE for version v1, which leaves cluster1's gateway without an endpoint for v1.
# Kind: fault
# Shape: multi-primary
. "$(dirname "$0")/lib.sh"

inject() {
  cluster1 apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: v1-plain
  namespace: sample
spec:
  selector:
    matchLabels: {app: helloworld, version: v1}
  mtls:
    mode: DISABLE
YAML
  # Connections of a replaced listener stay open for the sidecars' drainDuration, two seconds.
  sleep 3
  pushed
}

undo() {
  cluster1 -n sample delete peerauthentication v1-plain
  sleep 3
  pushed
}

"$1"
