#!/bin/sh
# Broken: a route adds the token of an older gateway to every request for helloworld, and v2 has a RequestAuthentication since. Without a token v2
# would admit a request; this one is no JWT, and v2's sidecar answers it with 401, to the clients of both clusters. v1 takes no notice of it.
# Answer: VirtualService primary/sample/helloworld-token: http[0].headers.request.set.authorization is no JWT, and RequestAuthentication
# primary/sample/v2-jwt has v2's sidecar refuse it (401).
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata:
  name: v2-jwt
  namespace: sample
spec:
  selector:
    matchLabels:
      app: helloworld
      version: v2
  jwtRules:
    - issuer: login.example.com
      jwks: '{"keys": [{"kty": "oct", "kid": "login", "k": "bm9ib2R5LWhhcy10aGlzLW9uZQ"}]}'
YAML
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: helloworld-token
  namespace: sample
spec:
  hosts: [helloworld.sample.svc.cluster.local]
  http:
    - headers:
        request:
          set:
            authorization: Bearer 0f1e2d3c4b5a69788796a5b4c3d2e1f0
      route:
        - destination:
            host: helloworld.sample.svc.cluster.local
YAML
  pushed
}

undo() {
  primary -n sample delete --ignore-not-found virtualservice helloworld-token
  primary -n sample delete --ignore-not-found requestauthentication v2-jwt
  pushed
}

"$1"
