#!/bin/sh
# Broken: the server of the gateways' Gateway resource is bound to the loopback address, which hid a test from others: from outside the pods nothing
# listens at port 15443, and each client reaches only the version near it.
# Answer: Gateway primary/istio-system/cross-network-gateway: servers[0].bind=127.0.0.1: both gateways listen at 127.0.0.1:15443 alone.
# Kind: fault
. "$(dirname "$0")/lib.sh"

bind() {
  primary -n istio-system patch gateways.networking.istio.io cross-network-gateway --type json -p "[$1]"
  # Connections of a listener that is removed are closed after the gateway's drainDuration, five seconds.
  sleep 6
  pushed
}

inject() { bind '{"op": "add", "path": "/spec/servers/0/bind", "value": "127.0.0.1"}'; }

undo() { bind '{"op": "remove", "path": "/spec/servers/0/bind"}'; }

"$1"
