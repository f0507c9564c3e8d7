#!/bin/sh
# Broken: the timeout of a route was meant to be 2 s and is 2 ms: what is slower is answered with 504 by the client's sidecar.
# Answer: VirtualService primary/sample/helloworld-timeouts: http[0].timeout=2ms.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: helloworld-timeouts
  namespace: sample
spec:
  hosts: [helloworld]
  http:
    - route:
        - destination:
            host: helloworld
      timeout: 2ms
      retries:
        attempts: 0
YAML
  pushed
}

undo() {
  primary -n sample delete virtualservice helloworld-timeouts
  pushed
}

"$1"
