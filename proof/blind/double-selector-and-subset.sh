#!/bin/sh
# Broken, twice: the remote gateway's Service selects pods of an ingress gateway, and half of the primary's traffic goes to a subset that no rule
# defines.
# Answer: Service remote/istio-system/istio-eastwestgateway: spec.selector istio=ingressgateway selects no pod; and, beside it, VirtualService
# primary/sample/helloworld-blue: weight 50 to subset blue, which no DestinationRule defines.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote -n istio-system patch service istio-eastwestgateway --type merge -p '{"spec": {"selector": {"istio": "ingressgateway"}}}'
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: helloworld-blue
  namespace: sample
spec:
  hosts: [helloworld]
  http:
    - route:
        - destination:
            host: helloworld
          weight: 50
        - destination:
            host: helloworld
            subset: blue
          weight: 50
YAML
  pushed
}

undo() {
  remote -n istio-system patch service istio-eastwestgateway --type merge -p '{"spec": {"selector": {"istio": "eastwestgateway"}}}'
  primary -n sample delete virtualservice helloworld-blue
  pushed
}

"$1"
