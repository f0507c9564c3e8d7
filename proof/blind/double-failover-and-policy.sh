#!/bin/sh
# Broken, twice: a rule of cluster1 for failover prefers endpoints of the client's own cluster, so the clients of cluster1 and cluster2 are answered
# by the one version beside them alone; and a policy of cluster3 admits to v3 only a caller of another namespace, so cluster3's client, whom that rule
# does not bind, gets 403 for a third of its requests.
# Answer: DestinationRule cluster1/sample/helloworld-failover: localityLbSetting.failoverPriority is topology.istio.io/cluster; and, beside it,
# AuthorizationPolicy cluster3/sample/v3-callers: it admits only principal cluster.local/ns/shop/sa/checkout (403).
# Kind: fault
# Shape: three-clusters
. "$(dirname "$0")/lib.sh"

inject() {
  cluster1 apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-failover
  namespace: sample
spec:
  host: helloworld.sample.svc.cluster.local
  trafficPolicy:
    outlierDetection:
      consecutive5xxErrors: 5
      interval: 10s
      baseEjectionTime: 30s
    loadBalancer:
      localityLbSetting:
        enabled: true
        failoverPriority: [topology.istio.io/cluster]
YAML
  cluster3 apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: v3-callers
  namespace: sample
spec:
  selector:
    matchLabels: {app: helloworld, version: v3}
  rules:
    - from:
        - source:
            principals: [cluster.local/ns/shop/sa/checkout]
YAML
  # Connections of a replaced listener stay open for the sidecars' drainDuration, two seconds.
  sleep 3
  pushed
}

undo() {
  cluster3 -n sample delete authorizationpolicy v3-callers
  cluster1 -n sample delete destinationrule helloworld-failover
  sleep 3
  pushed
}

"$1"
