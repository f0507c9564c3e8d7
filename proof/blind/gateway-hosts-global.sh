#!/bin/sh
# Broken: the Gateway resource of the gateways has the hosts of Istio 1.7's guide. No service of the mesh has such a name, so neither gateway
# listens at port 15443, and each client reaches only the version near it.
# Answer: Gateway primary/istio-system/cross-network-gateway: servers[0].hosts is *.global in place of *.local.
# Kind: fault
. "$(dirname "$0")/lib.sh"

hosts() {
  primary -n istio-system patch gateways.networking.istio.io cross-network-gateway --type json \
    -p '[{"op": "replace", "path": "/spec/servers/0/hosts", "value": ["'"$1"'"]}]'
  # Connections of a listener that is removed are closed after the gateway's drainDuration, five seconds.
  sleep 6
  pushed
}

inject() { hosts '*.global'; }

undo() { hosts '*.local'; }

"$1"
