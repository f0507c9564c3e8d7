#!/bin/sh
# Unusual: a policy that denies everything, a rule without mutual TLS and a policy that disables it were applied in cluster2, whose istiod is in
# cluster1.
# Answer: sound: cluster1's istiod reads such rules in cluster1 alone, and cluster3's in cluster3: those of cluster2 bind nobody.
# Kind: sound
# Shape: three-clusters
. "$(dirname "$0")/lib.sh"

inject() {
  cluster2 apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: deny-all
  namespace: istio-system
spec: {}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: helloworld-plain
  namespace: sample
spec:
  selector:
    matchLabels: {app: helloworld}
  mtls:
    mode: DISABLE
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-plain
  namespace: sample
spec:
  host: helloworld.sample.svc.cluster.local
  trafficPolicy:
    tls:
      mode: DISABLE
YAML
  pushed
}

undo() {
  cluster2 -n sample delete destinationrule helloworld-plain
  cluster2 -n sample delete peerauthentication helloworld-plain
  cluster2 -n istio-system delete authorizationpolicy deny-all
  pushed
}

"$1"
