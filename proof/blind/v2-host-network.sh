#!/bin/sh
# Broken: v2 was given the network of its node, to be scraped there. Injection leaves such a pod out, so v2 has no sidecar and speaks no mutual TLS:
# the remote's client still reaches it, in plain text, and nobody from the other network does.
# Answer: Deployment remote/sample/helloworld-v2: hostNetwork=true in the pod template: a pod of the node's network gets no sidecar.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote -n sample patch deployment helloworld-v2 --type merge -p '{"spec": {"template": {"spec": {"hostNetwork": true}}}}'
  rolled remote sample helloworld-v2
  pushed
}

undo() {
  # Some versions of the API server add host ports to such a template, which a patch would leave there.
  remote -n sample rollout undo deployment/helloworld-v2
  rolled remote sample helloworld-v2
  pushed
}

"$1"
