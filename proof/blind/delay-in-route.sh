#!/bin/sh
# Broken: a latency test was left in the route: one request in twenty waits for 20 s before it is sent.
# Answer: VirtualService primary/sample/latency-test: http[0].fault.delay (20 s, 5 %).
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: latency-test
  namespace: sample
spec:
  hosts: [helloworld.sample.svc.cluster.local]
  http:
    - fault:
        delay:
          fixedDelay: 20s
          percentage:
            value: 5
      route:
        - destination:
            host: helloworld.sample.svc.cluster.local
YAML
  pushed
}

undo() {
  primary -n sample delete virtualservice latency-test
  pushed
}

"$1"
