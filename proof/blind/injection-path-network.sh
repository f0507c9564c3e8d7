#!/bin/sh
# Broken: the remote's injection webhook was copied from another cluster: its path names the primary's network; v2 was restarted since.
# Answer: MutatingWebhookConfiguration remote/istio-sidecar-injector: the path of its webhooks says net/primary-network, so v2's pod says that it is there.
# Kind: fault
. "$(dirname "$0")/lib.sh"

path_of() {
  remote get mutatingwebhookconfiguration istio-sidecar-injector -o json | sed "s|/net/$1|/net/$2|g" | remote replace -f -
  restarted remote sample helloworld-v2
  pushed
}

inject() { path_of remote-network primary-network; }

undo() { path_of primary-network remote-network; }

"$1"
