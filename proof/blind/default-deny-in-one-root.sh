#!/bin/sh
# Broken: zero trust was begun in cluster2: a policy without rules in the root namespace of its istiod denies what no other policy admits, and the
# policies that admit the callers were never written there. v2 answers 403 to the clients of both clusters; v1, in cluster1, answers everybody.
# Answer: AuthorizationPolicy cluster2/istio-system/default-deny: an empty spec, which admits nothing, and no ALLOW policy in cluster2 for v2.
# Kind: fault
# Shape: multi-primary
. "$(dirname "$0")/lib.sh"

inject() {
  cluster2 apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: default-deny
  namespace: istio-system
spec: {}
YAML
  sleep 3
  pushed
}

undo() {
  cluster2 -n istio-system delete authorizationpolicy default-deny
  sleep 3
  pushed
}

"$1"
