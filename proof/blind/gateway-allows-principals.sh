#!/bin/sh
# Unusual: a policy at the remote's gateway admits a list of principals, though the gateway passes TLS on and knows no principal.
# Answer: sound: istiod builds no authorization filter for AUTO_PASSTHROUGH, so the policy has no effect there.
# Kind: sound
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: eastwest-callers
  namespace: istio-system
spec:
  selector:
    matchLabels:
      topology.istio.io/network: remote-network
  action: ALLOW
  rules:
    - from:
        - source:
            principals: ["cluster.local/ns/sample/sa/*"]
YAML
  # Connections of the listener that it replaces are closed after the gateway's drainDuration, five seconds.
  sleep 6
  pushed
}

undo() {
  primary -n istio-system delete authorizationpolicy eastwest-callers
  sleep 6
  pushed
}

"$1"
