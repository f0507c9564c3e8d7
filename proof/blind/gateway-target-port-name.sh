#!/bin/sh
# Broken: the remote gateway's Service names a port of the pod that its template does not have.
# Answer: Service remote/istio-system/istio-eastwestgateway: port 15443 has targetPort=mtls, which no container port of the gateway's pod is named.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote -n istio-system patch service istio-eastwestgateway --type strategic \
    -p '{"spec": {"ports": [{"port": 15443, "targetPort": "mtls"}]}}'
  pushed
}

undo() {
  remote -n istio-system patch service istio-eastwestgateway --type strategic \
    -p '{"spec": {"ports": [{"port": 15443, "targetPort": 15443}]}}'
  pushed
}

"$1"
