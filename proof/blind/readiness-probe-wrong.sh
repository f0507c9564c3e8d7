#!/bin/sh
# Broken: v2's readiness probe asks for a path that the application has no more: the pod runs and is never ready.
# Answer: Deployment remote/sample/helloworld-v2: readinessProbe.httpGet.path=/healthz is not answered with success, so the pod is not ready and no
# endpoint.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  replaced remote sample helloworld-v2 app=helloworld \
    '{"spec": {"template": {"spec": {"containers": [{"name": "helloworld", "readinessProbe": {"httpGet": {"path": "/healthz"}}}]}}}}'
  pushed
}

undo() {
  remote -n sample rollout undo deployment/helloworld-v2
  rolled remote sample helloworld-v2
  pushed
}

"$1"
