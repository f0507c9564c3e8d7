#!/bin/sh
# Broken: a DestinationRule names the account that helloworld was to run as; its pods run as the account default. Every client, of both clusters,
# refuses the certificate of both versions.
# Answer: DestinationRule primary/sample/helloworld-identity: tls.subjectAltNames has only spiffe://cluster.local/ns/sample/sa/helloworld, and the
# pods' identity is spiffe://cluster.local/ns/sample/sa/default.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-identity
  namespace: sample
spec:
  host: helloworld
  trafficPolicy:
    tls:
      mode: ISTIO_MUTUAL
      subjectAltNames: ["spiffe://cluster.local/ns/sample/sa/helloworld"]
YAML
  pushed
}

undo() {
  primary -n sample delete destinationrule helloworld-identity
  pushed
}

"$1"
