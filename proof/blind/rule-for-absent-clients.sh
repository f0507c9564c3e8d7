#!/bin/sh
# Unusual: a DestinationRule for helloworld speaks plain text, with few connections, but only from clients with a label that no pod has any more.
# Answer: sound: its workloadSelector selects no client, so it binds nobody; every client speaks mutual TLS as before.
# Kind: sound
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-legacy-clients
  namespace: sample
spec:
  host: helloworld
  workloadSelector:
    matchLabels:
      app: legacy-client
  trafficPolicy:
    tls:
      mode: DISABLE
    connectionPool:
      tcp:
        maxConnections: 1
      http:
        http1MaxPendingRequests: 1
YAML
  pushed
}

undo() {
  primary -n sample delete destinationrule helloworld-legacy-clients
  pushed
}

"$1"
