#!/bin/sh
# Unusual: a NetworkPolicy admits to the remote's pods only pods of their own namespace, which would leave the gateway out,
# but no network plug-in of this cluster enforces NetworkPolicies.
# Answer: sound: traffic passes as before, and the policy has no effect.
# Kind: sound
. "$(dirname "$0")/lib.sh"

inject() {
  remote apply -f - <<'YAML'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: same-namespace-only
  namespace: sample
spec:
  podSelector: {}
  policyTypes: [Ingress]
  ingress:
    - from:
        - podSelector: {}
YAML
  pushed
}

undo() {
  remote -n sample delete networkpolicy same-namespace-only
  pushed
}

"$1"
