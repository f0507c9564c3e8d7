#!/bin/sh
# Broken: a connection pool copied from a database's rule admits one connection and one waiting request: more at once are answered with 503.
# Answer: DestinationRule primary/sample/helloworld-pool: connectionPool (maxConnections=1, http1MaxPendingRequests=1, http2MaxRequests=1).
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-pool
  namespace: sample
spec:
  host: helloworld
  trafficPolicy:
    connectionPool:
      tcp:
        maxConnections: 1
      http:
        http1MaxPendingRequests: 1
        http2MaxRequests: 1
        maxRequestsPerConnection: 1
YAML
  pushed
}

undo() {
  primary -n sample delete destinationrule helloworld-pool
  pushed
}

"$1"
