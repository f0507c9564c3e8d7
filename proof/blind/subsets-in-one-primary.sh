#!/bin/sh
# Broken: a release split helloworld into subsets, and its rules were applied in cluster1 alone. cluster1's client sends half of its requests to
# subset v2, with that subset in the SNI; cluster2's istiod has no such rule, so cluster2's gateway has no filter chain for that SNI and closes
# the connection. Requests for v1, and all of cluster2's client, are answered.
# Answer: DestinationRule cluster1/sample/helloworld-versions defines subset v2, and cluster2 has no such DestinationRule: its gateway does not know
# the SNI outbound_.5000_.v2_.helloworld.sample.svc.cluster.local, to which VirtualService cluster1/sample/helloworld-split sends half.
# Kind: fault
# Shape: multi-primary
. "$(dirname "$0")/lib.sh"

inject() {
  cluster1 apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-versions
  namespace: sample
spec:
  host: helloworld.sample.svc.cluster.local
  subsets:
    - name: v1
      labels: {version: v1}
    - name: v2
      labels: {version: v2}
YAML
  pushed
  cluster1 apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: helloworld-split
  namespace: sample
spec:
  hosts: [helloworld.sample.svc.cluster.local]
  http:
    - route:
        - destination: {host: helloworld.sample.svc.cluster.local, subset: v1}
          weight: 50
        - destination: {host: helloworld.sample.svc.cluster.local, subset: v2}
          weight: 50
YAML
  pushed
}

undo() {
  cluster1 -n sample delete virtualservice helloworld-split
  pushed
  cluster1 -n sample delete destinationrule helloworld-versions
  pushed
}

"$1"
