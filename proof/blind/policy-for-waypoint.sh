#!/bin/sh
# Unusual: a policy that denies everything is attached to the Service of helloworld, for a waypoint, and this mesh has none.
# Answer: sound: sidecars take no notice of policies with targetRefs, so every request is admitted as before.
# Kind: sound
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: helloworld-waypoint
  namespace: sample
spec:
  targetRefs:
    - group: ""
      kind: Service
      name: helloworld
  action: DENY
  rules:
    - {}
YAML
  pushed
}

undo() {
  primary -n sample delete --ignore-not-found authorizationpolicy helloworld-waypoint
  pushed
}

"$1"
