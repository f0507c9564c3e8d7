#!/bin/sh
# Broken: the Gateway resource of the gateways has TLS mode PASSTHROUGH, as in the example for ingress.
# Answer: Gateway primary/istio-system/cross-network-gateway: tls.mode=PASSTHROUGH in place of AUTO_PASSTHROUGH: no service has a filter chain at
# the gateways.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary -n istio-system patch gateway.networking.istio.io cross-network-gateway --type json \
    -p '[{"op": "replace", "path": "/spec/servers/0/tls/mode", "value": "PASSTHROUGH"}]'
  sleep 6
  pushed
}

undo() {
  primary -n istio-system patch gateway.networking.istio.io cross-network-gateway --type json \
    -p '[{"op": "replace", "path": "/spec/servers/0/tls/mode", "value": "AUTO_PASSTHROUGH"}]'
  sleep 6
  pushed
}

"$1"
