#!/bin/sh
# Broken: v2 demands a token of its caller, which the clients of both clusters do not send.
# Answer: AuthorizationPolicy primary/sample/v2-needs-token: it admits only requestPrincipals *, which needs a token of RequestAuthentication
# v2-tokens.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata:
  name: v2-tokens
  namespace: sample
spec:
  selector:
    matchLabels:
      version: v2
  jwtRules:
    - issuer: partner@example.com
      jwks: '{"keys": [{"kty": "oct", "kid": "blind", "k": "Zm9yLXRoZS1ibGluZC1mYXVsdHM"}]}'
YAML
  primary apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: v2-needs-token
  namespace: sample
spec:
  selector:
    matchLabels:
      version: v2
  action: ALLOW
  rules:
    - from:
        - source:
            requestPrincipals: ["*"]
YAML
  pushed
}

undo() {
  primary -n sample delete authorizationpolicy v2-needs-token
  primary -n sample delete requestauthentication v2-tokens
  pushed
}

"$1"
