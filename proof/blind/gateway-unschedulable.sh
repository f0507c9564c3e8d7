#!/bin/sh
# Broken: the remote's gateway asks for more CPU than its node has, and its pod was evicted: the new one stays Pending.
# Answer: Deployment remote/istio-system/istio-eastwestgateway: no pod, because resources.requests.cpu=64 fits no node (Unschedulable).
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote -n istio-system scale deployment istio-eastwestgateway --replicas=0
  remote -n istio-system wait --for=delete pod -l istio=eastwestgateway --timeout=90s
  remote -n istio-system set resources deployment/istio-eastwestgateway -c istio-proxy --requests=cpu=64 --limits=cpu=64
  remote -n istio-system scale deployment istio-eastwestgateway --replicas=1
  pushed
}

undo() {
  remote -n istio-system rollout undo deployment/istio-eastwestgateway
  rolled remote istio-system istio-eastwestgateway
  pushed
}

"$1"
