#!/bin/sh
# Broken: a tool that sets the injection template of all Deployments set it at the remote's gateway, too, and its old pod is gone. What the injection
# makes of its template now is a sidecar and no gateway: nothing serves port 15443, and the primary's client does not reach v2.
# Answer: Deployment remote/istio-system/istio-eastwestgateway: annotation inject.istio.io/templates=sidecar in the pod template, in place of gateway.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote -n istio-system get deployment istio-eastwestgateway -o json > "$STATE/gateway.json"
  replaced remote istio-system istio-eastwestgateway istio=eastwestgateway \
    '{"spec": {"template": {"metadata": {"annotations": {"inject.istio.io/templates": "sidecar"}}}}}'
  sleep 10
  pushed
}

undo() {
  put_back remote "$STATE/gateway.json"
  rolled remote istio-system istio-eastwestgateway
  pushed
}

"$1"
