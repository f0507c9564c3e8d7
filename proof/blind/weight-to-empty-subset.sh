#!/bin/sh
# Broken: a tenth of the traffic goes to version v3, which is not deployed yet.
# Answer: VirtualService primary/sample/helloworld-canary: weight 10 to subset v3 of DestinationRule helloworld-versions, whose labels version=v3
# no pod has.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-versions
  namespace: sample
spec:
  host: helloworld
  subsets:
    - name: stable
      labels:
        app: helloworld
    - name: v3
      labels:
        version: v3
YAML
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: helloworld-canary
  namespace: sample
spec:
  hosts: [helloworld]
  http:
    - route:
        - destination:
            host: helloworld
            subset: stable
          weight: 90
        - destination:
            host: helloworld
            subset: v3
          weight: 10
YAML
  pushed
}

undo() {
  primary -n sample delete virtualservice helloworld-canary
  primary -n sample delete destinationrule helloworld-versions
  pushed
}

"$1"
