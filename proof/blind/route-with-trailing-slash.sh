#!/bin/sh
# Broken: a VirtualService routes one path of helloworld, written with a slash at its end, and nothing else. Every request for /hello is answered with
# 404 by the client's own sidecar, in both clusters. A DestinationRule that has sidecars speak HTTP/2 among themselves is there, too.
# Answer: VirtualService primary/sample/helloworld-paths: http[0].match[0].uri.exact=/hello/ matches no request for /hello, and there is no other
# route (404, NR). (DestinationRule helloworld-h2 is innocent.)
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-h2
  namespace: sample
spec:
  host: helloworld.sample.svc.cluster.local
  trafficPolicy:
    connectionPool:
      http:
        h2UpgradePolicy: UPGRADE
YAML
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: helloworld-paths
  namespace: sample
spec:
  hosts: [helloworld.sample.svc.cluster.local]
  http:
    - match:
        - uri:
            exact: /hello/
      route:
        - destination:
            host: helloworld.sample.svc.cluster.local
            port:
              number: 5000
YAML
  pushed
}

undo() {
  primary -n sample delete --ignore-not-found virtualservice helloworld-paths
  primary -n sample delete --ignore-not-found destinationrule helloworld-h2
  pushed
}

"$1"
