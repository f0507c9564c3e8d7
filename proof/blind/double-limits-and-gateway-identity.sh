#!/bin/sh
# Broken, twice: a policy admits to v1 only the identity of the gateways, as if they ended TLS, so v1 answers 403 to the clients of both clusters; and
# the remote's namespace got a limit for each container that a sidecar exceeds, and v2's pod was evicted since: none may be created.
# Answer: AuthorizationPolicy primary/sample/v1-from-gateways: it admits only principal
# cluster.local/ns/istio-system/sa/istio-eastwestgateway-service-account, which no caller has (403); and, beside it, LimitRange
# remote/sample/team-limits: max memory=512Mi for a container, and istio-proxy has a limit of 1Gi (FailedCreate).
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: v1-from-gateways
  namespace: sample
spec:
  selector:
    matchLabels:
      app: helloworld
      version: v1
  action: ALLOW
  rules:
    - from:
        - source:
            principals: [cluster.local/ns/istio-system/sa/istio-eastwestgateway-service-account]
YAML
  remote apply -f - <<'YAML'
apiVersion: v1
kind: LimitRange
metadata:
  name: team-limits
  namespace: sample
spec:
  limits:
    - type: Container
      max:
        memory: 512Mi
YAML
  sleep 2
  remote -n sample scale deployment helloworld-v2 --replicas=0
  remote -n sample wait --for=delete pod -l app=helloworld --timeout=90s
  remote -n sample scale deployment helloworld-v2 --replicas=1
  pushed
}

undo() {
  primary -n sample delete --ignore-not-found authorizationpolicy v1-from-gateways
  remote -n sample delete --ignore-not-found limitrange team-limits
  # A ReplicaSet that was refused tries again only minutes later, but at once after a change.
  remote -n sample scale deployment helloworld-v2 --replicas=0
  sleep 3
  remote -n sample scale deployment helloworld-v2 --replicas=1
  rolled remote sample helloworld-v2
  pushed
}

"$1"
