#!/bin/sh
# Broken: the remote's namespace now enforces the Pod Security Standard "restricted", which v2 itself meets; the container that the injection adds
# for the traffic's redirection does not. v2's pod was evicted since, and none may be created. A PodDisruptionBudget that admits no disruption is
# there, too, and changes nothing.
# Answer: Namespace remote/sample: label pod-security.kubernetes.io/enforce=restricted: v2's ReplicaSet may not create its pod (FailedCreate, violates
# PodSecurity: istio-init needs NET_ADMIN). (PodDisruptionBudget helloworld is innocent.)
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote apply -f - <<'YAML'
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: helloworld
  namespace: sample
spec:
  maxUnavailable: 0
  selector:
    matchLabels:
      app: helloworld
YAML
  remote label namespace sample pod-security.kubernetes.io/enforce=restricted
  remote -n sample scale deployment helloworld-v2 --replicas=0
  remote -n sample wait --for=delete pod -l app=helloworld --timeout=90s
  remote -n sample scale deployment helloworld-v2 --replicas=1
  pushed
}

undo() {
  remote label namespace sample pod-security.kubernetes.io/enforce-
  remote -n sample delete poddisruptionbudget helloworld
  # A ReplicaSet that was refused tries again only minutes later, but at once after a change.
  remote -n sample scale deployment helloworld-v2 --replicas=0
  sleep 3
  remote -n sample scale deployment helloworld-v2 --replicas=1
  rolled remote sample helloworld-v2
  pushed
}

"$1"
