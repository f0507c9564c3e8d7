#!/bin/sh
# Unusual: the remote gateway's Service keeps traffic from outside on the node where it arrives, so that the gateway sees the caller's address. The
# only node is the one where the gateway's pod runs.
# Answer: sound: every request reaches the gateway and is answered over the right path.
# Kind: sound
. "$(dirname "$0")/lib.sh"

policy() {
  remote -n istio-system patch service istio-eastwestgateway --type merge -p '{"spec": {"externalTrafficPolicy": "'"$1"'"}}'
  # kube-proxy writes its rules within a second.
  sleep 2
  pushed
}

inject() { policy Local; }

undo() { policy Cluster; }

"$1"
