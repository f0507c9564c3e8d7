#!/bin/sh
# Broken: somebody narrowed the remote's injection webhook to namespaces with another value of the label; v2 was created again since.
# Answer: MutatingWebhookConfiguration remote/istio-revision-tag-default: namespaceSelector of namespace.sidecar-injector wants istio-injection=on,
# and the namespace has enabled: v2's pod has no sidecar.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote get mutatingwebhookconfiguration istio-revision-tag-default -o json |
    sed 's|"enabled"|"on"|' | remote replace -f -
  restarted remote sample helloworld-v2
  pushed
}

undo() {
  remote get mutatingwebhookconfiguration istio-revision-tag-default -o json |
    sed 's|"on"|"enabled"|' | remote replace -f -
  restarted remote sample helloworld-v2
  pushed
}

"$1"
