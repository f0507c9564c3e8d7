#!/bin/sh
# Broken: the remote gateway's load balancer admits only an office's addresses: new connections from the primary's network are dropped, and hang.
# The primary's client was restarted since, so that it needs new connections. The other direction is whole.
# Answer: Service remote/istio-system/istio-eastwestgateway: spec.loadBalancerSourceRanges=203.0.113.0/24 lacks the primary's network.
# Kind: fault
. "$(dirname "$0")/lib.sh"

ranges() {
  remote -n istio-system patch service istio-eastwestgateway --type merge -p '{"spec": {"loadBalancerSourceRanges": '"$1"'}}'
  # kube-proxy writes its rules within a second.
  sleep 2
  restarted primary sample sleep
  pushed
}

inject() { ranges '["203.0.113.0/24"]'; }

undo() { ranges null; }

"$1"
