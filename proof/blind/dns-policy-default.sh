#!/bin/sh
# Broken: v2 was told to use its node's DNS, for a name of the company's own zone. The node knows no name of the cluster, so v2's new sidecar does not
# find istiod: it gets no certificate and no configuration, and the pod is never ready. No client reaches v2.
# Answer: Deployment remote/sample/helloworld-v2: dnsPolicy=Default in the pod template: the sidecar cannot resolve istiod.istio-system.svc.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  replaced remote sample helloworld-v2 app=helloworld '{"spec": {"template": {"spec": {"dnsPolicy": "Default"}}}}'
  sleep 6
  pushed
}

undo() {
  remote -n sample rollout undo deployment/helloworld-v2
  rolled remote sample helloworld-v2
  pushed
}

"$1"
