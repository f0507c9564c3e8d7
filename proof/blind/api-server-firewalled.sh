#!/bin/sh
# Broken: the remote's firewall no longer lets the primary reach its API server, and istiod was restarted since: it knows no pod of the remote, and
# can check none of its proxies. Everybody else reaches that API server.
# Answer: no object of Kubernetes or Istio has it: "no known cause fits", or that istiod cannot connect to the remote's API server at the address of
# its remote secret (connection refused), which is right and answers others.
# Kind: unknowable
. "$(dirname "$0")/lib.sh"

rule() {
  remote_node iptables "$1" INPUT -s "$(cat "$STATE/primary-address")" -p tcp --dport 6443 -j REJECT --reject-with tcp-reset
}

inject() {
  primary get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}' > "$STATE/primary-address"
  rule -I
  # istiod waits half a minute for a cluster that it cannot read, and is ready then.
  restarted primary istio-system istiod
  pushed
}

undo() {
  rule -D
  restarted primary istio-system istiod
  # A proxy that was refused asks again after up to half a minute.
  sleep 15
  pushed
}

"$1"
