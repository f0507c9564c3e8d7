#!/bin/sh
# Broken: a DestinationRule sets the SNI of mutual TLS to the plain host, which no gateway with AUTO_PASSTHROUGH knows.
# Answer: DestinationRule primary/sample/helloworld-tls: spec.trafficPolicy.tls.sni replaces the SNI by which the far gateway chooses the service.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-tls
  namespace: sample
spec:
  host: helloworld.sample.svc.cluster.local
  trafficPolicy:
    tls:
      mode: ISTIO_MUTUAL
      sni: helloworld.sample.svc.cluster.local
YAML
  pushed
}

undo() {
  primary -n sample delete destinationrule helloworld-tls
  pushed
}

"$1"
