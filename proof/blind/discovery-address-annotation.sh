#!/bin/sh
# Broken: v2's pods have an annotation with istiod's port of Istio 1.4, and were created again: their sidecar gets no configuration.
# Answer: Deployment remote/sample/helloworld-v2: annotation proxy.istio.io/config has discoveryAddress istiod.istio-system.svc:15011, where
# nothing listens.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  replaced remote sample helloworld-v2 app=helloworld \
    '{"spec": {"template": {"metadata": {"annotations": {"proxy.istio.io/config": "discoveryAddress: istiod.istio-system.svc:15011\n"}}}}}'
  pushed
}

undo() {
  remote -n sample rollout undo deployment/helloworld-v2
  rolled remote sample helloworld-v2
  pushed
}

"$1"
