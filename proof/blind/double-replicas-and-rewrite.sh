#!/bin/sh
# Broken, twice: the remote's gateway was scaled to nothing for the night, so the primary's client does not reach v2; and every path is rewritten to
# one that no version serves, so what is reached answers 404, in both clusters.
# Answer: Deployment remote/istio-system/istio-eastwestgateway: spec.replicas=0; and, beside it, VirtualService primary/sample/helloworld-api:
# http[0].rewrite.uri=/api/v1/hello, which the application does not serve.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote -n istio-system scale deployment istio-eastwestgateway --replicas=0
  remote -n istio-system wait --for=delete pod -l istio=eastwestgateway --timeout=90s
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: helloworld-api
  namespace: sample
spec:
  hosts: [helloworld]
  http:
    - match:
        - uri:
            prefix: /hello
      rewrite:
        uri: /api/v1/hello
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
  primary -n sample delete virtualservice helloworld-api
  remote -n istio-system scale deployment istio-eastwestgateway --replicas=1
  rolled remote istio-system istio-eastwestgateway
  pushed
}

"$1"
