#!/bin/sh
# Broken: an AuthorizationPolicy from before the second cluster admits only the pod addresses of the first.
# Answer: AuthorizationPolicy primary/sample/helloworld-from-pods: rules[0].from[0].source.ipBlocks=10.10.0.0/16: v2's callers are not in it (403).
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: helloworld-from-pods
  namespace: sample
spec:
  selector:
    matchLabels:
      app: helloworld
  action: ALLOW
  rules:
    - from:
        - source:
            ipBlocks: [10.10.0.0/16]
YAML
  pushed
}

undo() {
  primary -n sample delete authorizationpolicy helloworld-from-pods
  pushed
}

"$1"
