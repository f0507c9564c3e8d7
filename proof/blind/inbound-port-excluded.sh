#!/bin/sh
# Broken: v2's pods keep the service port away from their sidecar, which is left to answer mutual TLS there.
# Answer: Deployment remote/sample/helloworld-v2: annotation traffic.sidecar.istio.io/excludeInboundPorts=5000: the application gets the TLS bytes.
# Kind: fault
. "$(dirname "$0")/lib.sh"

annotate() {
  remote -n sample patch deployment helloworld-v2 --type merge \
    -p '{"spec": {"template": {"metadata": {"annotations": {"traffic.sidecar.istio.io/excludeInboundPorts": '"$1"'}}}}}'
  rolled remote sample helloworld-v2
  pushed
}

inject() { annotate '"5000"'; }

undo() { annotate null; }

"$1"
