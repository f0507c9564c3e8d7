#!/bin/sh
# Broken: a DestinationRule leaves the choice of the endpoint to kube-proxy: the sidecars send to helloworld's cluster address, behind which are the
# pods of the same cluster alone. Each client is answered by the version near it and never by the other. A VirtualService that aborts everything
# is there, too, for a gateway that does not exist, and binds nobody.
# Answer: DestinationRule primary/sample/helloworld-kube-proxy: trafficPolicy.loadBalancer.simple=PASSTHROUGH: the sidecars' cluster is ORIGINAL_DST,
# without endpoints. (VirtualService helloworld-public is innocent.)
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-kube-proxy
  namespace: sample
spec:
  host: helloworld.sample.svc.cluster.local
  trafficPolicy:
    loadBalancer:
      simple: PASSTHROUGH
YAML
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: helloworld-public
  namespace: sample
spec:
  hosts: [helloworld.sample.svc.cluster.local]
  gateways: [istio-system/public-gateway]
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
  primary -n sample delete destinationrule helloworld-kube-proxy
  primary -n sample delete virtualservice helloworld-public
  pushed
}

"$1"
