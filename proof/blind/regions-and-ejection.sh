#!/bin/sh
# Broken: the nodes got labels with their regions, one for each cluster, and helloworld's rule ejects endpoints that fail. Neither is wrong alone: but
# with outlier detection the mesh's default prefers the client's region. Each client is answered by the version near it alone. All pods were created
# again since.
# Answer: DestinationRule primary/sample/helloworld-ejection: outlierDetection switches locality load balancing on (nothing says
# localityLbSetting.enabled=false), and the nodes' topology.kubernetes.io/region is eu in primary and us in remote.
# Kind: fault
. "$(dirname "$0")/lib.sh"

renewed() {
  restarted primary sample helloworld-v1
  restarted remote sample helloworld-v2
  restarted primary sample sleep
  restarted remote sample sleep
  pushed
}

inject() {
  primary label nodes --all --overwrite topology.kubernetes.io/region=eu topology.kubernetes.io/zone=eu-1
  remote label nodes --all --overwrite topology.kubernetes.io/region=us topology.kubernetes.io/zone=us-1
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-ejection
  namespace: sample
spec:
  host: helloworld.sample.svc.cluster.local
  trafficPolicy:
    outlierDetection:
      consecutive5xxErrors: 5
      interval: 10s
      baseEjectionTime: 30s
YAML
  renewed
}

undo() {
  primary -n sample delete --ignore-not-found destinationrule helloworld-ejection
  primary label nodes --all topology.kubernetes.io/region- topology.kubernetes.io/zone-
  remote label nodes --all topology.kubernetes.io/region- topology.kubernetes.io/zone-
  renewed
}

"$1"
