#!/bin/sh
# Broken: the remote gateway's Service has the label that names the port of cross-network traffic, with a port that it does not serve.
# Answer: Service remote/istio-system/istio-eastwestgateway: label networking.istio.io/gatewayPort=443 sends the other network's clients to port
# 443.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote -n istio-system label service istio-eastwestgateway networking.istio.io/gatewayPort=443
  pushed
}

undo() {
  remote -n istio-system label service istio-eastwestgateway networking.istio.io/gatewayPort-
  pushed
}

"$1"
