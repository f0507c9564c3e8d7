#!/bin/sh
# Broken: the remote's gateway was given the readiness probe of istiod, whose port it does not have, and its old pod is gone: the new one runs and is
# never ready, so its Service has no endpoint and the primary's client is refused. A PodDisruptionBudget for it is there, too, and changes nothing.
# Answer: Deployment remote/istio-system/istio-eastwestgateway: readinessProbe of container istio-proxy asks /ready at port 8080, where nothing
# listens: no pod of the gateway is ready. (PodDisruptionBudget eastwest-minimum is innocent.)
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote -n istio-system get deployment istio-eastwestgateway -o json > "$STATE/gateway.json"
  remote apply -f - <<'YAML'
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: eastwest-minimum
  namespace: istio-system
spec:
  minAvailable: 1
  selector:
    matchLabels:
      istio: eastwestgateway
YAML
  replaced remote istio-system istio-eastwestgateway istio=eastwestgateway \
    '{"spec": {"template": {"spec": {"containers": [{"name": "istio-proxy", "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}}}]}}}}'
  sleep 10
  pushed
}

undo() {
  put_back remote "$STATE/gateway.json"
  remote -n istio-system delete --ignore-not-found poddisruptionbudget eastwest-minimum
  rolled remote istio-system istio-eastwestgateway
  pushed
}

"$1"
