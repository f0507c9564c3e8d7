#!/bin/sh
# Unusual: a VirtualService sets a timeout of 30 s, no retries and a header of the answer; a rule limits the pool to what is more than enough.
# Answer: sound: no request takes as long, and every one is answered at the first try.
# Kind: sound
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: helloworld-defaults
  namespace: sample
spec:
  hosts: [helloworld]
  http:
    - route:
        - destination:
            host: helloworld
          headers:
            response:
              add:
                x-route: defaults
      timeout: 30s
      retries:
        attempts: 0
YAML
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-limits
  namespace: sample
spec:
  host: helloworld
  trafficPolicy:
    connectionPool:
      tcp:
        maxConnections: 500
        connectTimeout: 5s
      http:
        http2MaxRequests: 1000
YAML
  pushed
}

undo() {
  primary -n sample delete virtualservice helloworld-defaults
  primary -n sample delete destinationrule helloworld-limits
  pushed
}

"$1"
