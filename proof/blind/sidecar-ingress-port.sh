#!/bin/sh
# Broken: a Sidecar resource leads requests for v2 to a port at which its application does not listen.
# Answer: Sidecar primary/sample/helloworld-v2: spec.ingress[0].defaultEndpoint 127.0.0.1:5055, where nothing listens (503 from v2's own sidecar).
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata:
  name: helloworld-v2
  namespace: sample
spec:
  workloadSelector:
    labels:
      app: helloworld
      version: v2
  ingress:
    - port:
        number: 5000
        protocol: HTTP
        name: http
      defaultEndpoint: 127.0.0.1:5055
  egress:
    - hosts: ["*/*"]
YAML
  pushed
}

undo() {
  primary -n sample delete sidecar helloworld-v2
  pushed
}

"$1"
