#!/bin/sh
# Unusual: istiod lets a gateway serve only the Gateway resources of its own namespace, against those of other teams; istiod was restarted with it.
# Answer: sound: the gateways and their Gateway resources are all in istio-system.
# Kind: sound
. "$(dirname "$0")/lib.sh"

scope() {
  primary -n istio-system set env deployment/istiod -c discovery "PILOT_SCOPE_GATEWAY_TO_NAMESPACE$1"
  rolled primary istio-system istiod
  # The remote's proxies come back to the new istiod after some seconds.
  sleep 15
  pushed
}

inject() { scope =true; }

undo() { scope -; }

"$1"
