#!/bin/sh
# Broken: an engineer's chaos experiment is still there: one request in ten of clients whose user-agent begins with curl is answered with 429.
# Answer: VirtualService primary/sample/chaos: http[0].fault.abort (429, 10 %) for requests whose header user-agent has the prefix curl.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: chaos
  namespace: sample
spec:
  hosts: [helloworld]
  http:
    - name: experiment
      match:
        - headers:
            user-agent:
              prefix: curl
      fault:
        abort:
          httpStatus: 429
          percentage:
            value: 10
      route:
        - destination:
            host: helloworld
    - route:
        - destination:
            host: helloworld
YAML
  pushed
}

undo() {
  primary -n sample delete virtualservice chaos
  pushed
}

"$1"
