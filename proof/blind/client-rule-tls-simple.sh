#!/bin/sh
# Broken: a rule for the clients alone sets ordinary TLS at port 5000: they show no certificate of the mesh.
# Answer: DestinationRule primary/sample/sleep-tls (workloadSelector app=sleep): portLevelSettings of port 5000 have tls.mode=SIMPLE.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: sleep-tls
  namespace: sample
spec:
  host: helloworld
  workloadSelector:
    matchLabels:
      app: sleep
  trafficPolicy:
    portLevelSettings:
      - port:
          number: 5000
        tls:
          mode: SIMPLE
YAML
  pushed
}

undo() {
  primary -n sample delete destinationrule sleep-tls
  pushed
}

"$1"
