#!/bin/sh
# Broken: v2's sidecar has a memory limit that it exceeds at once, and is killed again and again.
# Answer: Deployment remote/sample/helloworld-v2: annotation sidecar.istio.io/proxyMemoryLimit=16Mi; its container istio-proxy is OOMKilled.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  replaced remote sample helloworld-v2 app=helloworld \
    '{"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/proxyMemoryLimit": "16Mi", "sidecar.istio.io/proxyMemory": "16Mi",
      "sidecar.istio.io/proxyCPU": "10m", "sidecar.istio.io/proxyCPULimit": "1"}}}}}'
  sleep 10
  pushed
}

undo() {
  remote -n sample rollout undo deployment/helloworld-v2
  rolled remote sample helloworld-v2
  pushed
}

"$1"
