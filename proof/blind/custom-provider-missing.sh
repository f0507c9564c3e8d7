#!/bin/sh
# Broken: helloworld is to be guarded by an external authorizer which the mesh configuration does not define: istiod denies all.
# Answer: AuthorizationPolicy primary/sample/helloworld-oauth: action CUSTOM, provider.name=oauth2-proxy, which extensionProviders of the mesh
# configuration lack.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: helloworld-oauth
  namespace: sample
spec:
  selector:
    matchLabels:
      app: helloworld
  action: CUSTOM
  provider:
    name: oauth2-proxy
  rules:
    - to:
        - operation:
            paths: ["/hello*"]
YAML
  pushed
}

undo() {
  primary -n sample delete authorizationpolicy helloworld-oauth
  pushed
}

"$1"
