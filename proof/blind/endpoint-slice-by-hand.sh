#!/bin/sh
# Broken: an EndpointSlice written by hand during a migration still adds the address of a machine that is gone.
# Answer: EndpointSlice remote/sample/helloworld-old-machine: endpoint 10.20.200.200, where nothing answers.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote apply -f - <<'YAML'
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: helloworld-old-machine
  namespace: sample
  labels:
    kubernetes.io/service-name: helloworld
    endpointslice.kubernetes.io/managed-by: platform-team
addressType: IPv4
ports:
  - name: http
    port: 5000
    protocol: TCP
endpoints:
  - addresses: ["10.20.200.200"]
    conditions:
      ready: true
YAML
  pushed
}

undo() {
  remote -n sample delete endpointslice helloworld-old-machine
  pushed
}

"$1"
