#!/bin/sh
# Unusual: the remote gateway's Service of type LoadBalancer has the annotation of gateways at node ports, with labels that no node has.
# Answer: sound: istiod reads traffic.istio.io/nodeSelector at Services of type NodePort alone.
# Kind: sound
. "$(dirname "$0")/lib.sh"

inject() {
  remote -n istio-system annotate service istio-eastwestgateway 'traffic.istio.io/nodeSelector={"edge": "true"}'
  pushed
}

undo() {
  remote -n istio-system annotate service istio-eastwestgateway traffic.istio.io/nodeSelector-
  pushed
}

"$1"
