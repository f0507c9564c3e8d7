#!/bin/sh
# Broken: another team's DestinationRule and VirtualService for helloworld are exported to their own namespace alone. That is istio-system,
# where the gateways are: the DestinationRule has them speak no mutual TLS, so they have no endpoint for what comes from the other network.
# Answer: DestinationRule primary/istio-system/helloworld-plain: tls.mode=DISABLE binds the gateways. The VirtualService binds nobody.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-plain
  namespace: istio-system
spec:
  host: helloworld.sample.svc.cluster.local
  exportTo: ["."]
  trafficPolicy:
    tls:
      mode: DISABLE
YAML
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: helloworld-closed
  namespace: istio-system
spec:
  hosts: [helloworld.sample.svc.cluster.local]
  exportTo: ["."]
  http:
    - fault:
        abort:
          httpStatus: 503
          percentage:
            value: 100
      route:
        - destination:
            host: helloworld.sample.svc.cluster.local
YAML
  pushed
}

undo() {
  primary -n istio-system delete destinationrule helloworld-plain
  primary -n istio-system delete virtualservice helloworld-closed
  pushed
}

"$1"
