#!/bin/sh
# Broken: a rule has the sidecars begin every connection to helloworld with a PROXY header, so that it sees its caller's address. Neither the servers'
# sidecars nor the gateways expect one, and take it for plain text: nobody is answered by either version. A PeerAuthentication that disables mutual
# TLS is there, too, for an application that does not exist.
# Answer: DestinationRule primary/sample/helloworld-caller-address: trafficPolicy.proxyProtocol.version=V2. (PeerAuthentication old-app is innocent.)
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: old-app
  namespace: sample
spec:
  selector:
    matchLabels:
      app: old-app
  mtls:
    mode: DISABLE
YAML
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-caller-address
  namespace: sample
spec:
  host: helloworld.sample.svc.cluster.local
  trafficPolicy:
    proxyProtocol:
      version: V2
YAML
  pushed
}

undo() {
  primary -n sample delete --ignore-not-found destinationrule helloworld-caller-address
  primary -n sample delete --ignore-not-found peerauthentication old-app
  pushed
}

"$1"
