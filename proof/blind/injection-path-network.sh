#!/bin/sh
# Broken: the remote's injection webhook was copied from another cluster: its path names the primary's network; v2 was restarted since.
# Answer: MutatingWebhookConfigurations remote/istio-sidecar-injector, istio-revision-tag-default: the path of their
# webhooks says net/primary-network, so v2's pod says that it is there.
# Kind: fault
. "$(dirname "$0")/lib.sh"

path_of() {
  # Istio's installation makes two with the same webhooks; one of them is switched off.
  for name in istio-sidecar-injector istio-revision-tag-default; do
    remote get mutatingwebhookconfiguration "$name" -o json | sed "s|/net/$1|/net/$2|g" | remote replace -f -
  done
  restarted remote sample helloworld-v2
  pushed
}

inject() { path_of remote-network primary-network; }

undo() { path_of primary-network remote-network; }

"$1"
