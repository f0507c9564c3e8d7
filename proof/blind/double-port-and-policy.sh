#!/bin/sh
# Broken, twice: the remote's Service sends to a port where nothing listens, and a policy denies what v1 is asked by GET.
# Answer: Service remote/sample/helloworld: targetPort=5999 of port 5000; and, beside it, AuthorizationPolicy primary/sample/v1-write-only: DENY of
# method GET.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote -n sample patch service helloworld --type strategic -p '{"spec": {"ports": [{"port": 5000, "targetPort": 5999}]}}'
  primary apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: v1-write-only
  namespace: sample
spec:
  selector:
    matchLabels:
      version: v1
  action: DENY
  rules:
    - to:
        - operation:
            methods: [GET]
            paths: ["/hello"]
YAML
  pushed
}

undo() {
  remote -n sample patch service helloworld --type strategic -p '{"spec": {"ports": [{"port": 5000, "targetPort": 5000}]}}'
  primary -n sample delete authorizationpolicy v1-write-only
  pushed
}

"$1"
