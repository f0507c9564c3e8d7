#!/bin/sh
# Broken: mutual TLS was switched off for one port of v2, for a probe that is long gone.
# Answer: PeerAuthentication primary/sample/v2-probe: portLevelMtls of port 5000 is DISABLE: v2 is no endpoint across networks.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: v2-probe
  namespace: sample
spec:
  selector:
    matchLabels:
      version: v2
  mtls:
    mode: STRICT
  portLevelMtls:
    5000:
      mode: DISABLE
YAML
  pushed
}

undo() {
  primary -n sample delete peerauthentication v2-probe
  pushed
}

"$1"
