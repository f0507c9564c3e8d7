#!/bin/sh
# Unusual: a policy admits to helloworld only callers of its own namespace.
# Answer: sound: the clients of both clusters are in that namespace, and the gateways pass on their certificates, so each is admitted near and far.
# Kind: sound
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: helloworld-own-namespace
  namespace: sample
spec:
  selector:
    matchLabels:
      app: helloworld
  action: ALLOW
  rules:
    - from:
        - source:
            namespaces: [sample]
YAML
  # Connections of a replaced listener stay open for the sidecars' drainDuration, two seconds.
  sleep 3
  pushed
}

undo() {
  primary -n sample delete authorizationpolicy helloworld-own-namespace
  sleep 3
  pushed
}

"$1"
