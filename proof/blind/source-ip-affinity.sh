#!/bin/sh
# Broken: a DestinationRule asks for session affinity by source address: every request of one client goes to one endpoint.
# Answer: DestinationRule primary/sample/helloworld-sessions: spec.trafficPolicy.loadBalancer.consistentHash.useSourceIp binds a client to one version.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-sessions
  namespace: sample
spec:
  host: helloworld
  trafficPolicy:
    loadBalancer:
      consistentHash:
        useSourceIp: true
YAML
  pushed
}

undo() {
  primary -n sample delete destinationrule helloworld-sessions
  pushed
}

"$1"
