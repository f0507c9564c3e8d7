#!/bin/sh
# Unusual: a RequestAuthentication binds the whole mesh, and no AuthorizationPolicy demands a token.
# Answer: sound: a request with a wrong token is refused, and one without any, as all are here, is admitted.
# Kind: sound
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata:
  name: company-tokens
  namespace: istio-system
spec:
  jwtRules:
    - issuer: login@example.com
      jwks: '{"keys": [{"kty": "oct", "kid": "blind", "k": "Zm9yLXRoZS1ibGluZC1mYXVsdHM"}]}'
YAML
  # Connections of a replaced listener stay open for the sidecars' drainDuration, two seconds.
  sleep 3
  pushed
}

undo() {
  primary -n istio-system delete requestauthentication company-tokens
  sleep 3
  pushed
}

"$1"
