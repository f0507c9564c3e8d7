#!/bin/sh
# Broken: the remote's namespace got a quota of memory that its client's pod alone exceeds; v2's pod was evicted since, and none may be created.
# No client is answered by v2.
# Answer: ResourceQuota remote/sample/team-memory: hard limits.memory=1Gi is used up, so v2's ReplicaSet may not create its pod (FailedCreate,
# exceeded quota).
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote apply -f - <<'YAML'
apiVersion: v1
kind: ResourceQuota
metadata:
  name: team-memory
  namespace: sample
spec:
  hard:
    limits.memory: 1Gi
YAML
  # The quota counts what is there before it admits anything.
  sleep 2
  remote -n sample scale deployment helloworld-v2 --replicas=0
  remote -n sample wait --for=delete pod -l app=helloworld --timeout=90s
  remote -n sample scale deployment helloworld-v2 --replicas=1
  pushed
}

undo() {
  remote -n sample delete resourcequota team-memory
  # A ReplicaSet that was refused tries again only minutes later, but at once after a change.
  remote -n sample scale deployment helloworld-v2 --replicas=0
  sleep 3
  remote -n sample scale deployment helloworld-v2 --replicas=1
  rolled remote sample helloworld-v2
  pushed
}

"$1"
