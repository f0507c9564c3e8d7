#!/bin/sh
# Broken: the remote's gateway asks istiod for the endpoints of a network that does not exist.
# Answer: Deployment remote/istio-system/istio-eastwestgateway: env ISTIO_META_REQUESTED_NETWORK_VIEW=remote-net, and the network is remote-network.
# Kind: fault
. "$(dirname "$0")/lib.sh"

view() {
  remote -n istio-system set env deployment/istio-eastwestgateway "ISTIO_META_REQUESTED_NETWORK_VIEW=$1"
  rolled remote istio-system istio-eastwestgateway
  pushed
}

inject() { view remote-net; }

undo() { view remote-network; }

"$1"
