#!/bin/sh
# Broken, twice: a policy admits requests to v1 by a host without the port, which every request to port 5000 has in its host, so v1 answers 403 to
# both clients; and v2's pods wait for a condition of another platform's load balancer, which nobody sets, so v2 is never ready and no endpoint.
# Answer: AuthorizationPolicy primary/sample/v1-hosts: rules[0].to[0].operation.hosts has no port (403); and, beside it, Deployment
# remote/sample/helloworld-v2: readinessGates target-health.example.com/registered, a condition that its pod does not have.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: v1-hosts
  namespace: sample
spec:
  selector:
    matchLabels:
      app: helloworld
      version: v1
  action: ALLOW
  rules:
    - to:
        - operation:
            hosts: [helloworld, helloworld.sample, helloworld.sample.svc.cluster.local]
YAML
  replaced remote sample helloworld-v2 app=helloworld \
    '{"spec": {"template": {"spec": {"readinessGates": [{"conditionType": "target-health.example.com/registered"}]}}}}'
  sleep 6
  pushed
}

undo() {
  primary -n sample delete authorizationpolicy v1-hosts
  remote -n sample rollout undo deployment/helloworld-v2
  rolled remote sample helloworld-v2
  # Connections of a replaced listener stay open for the sidecars' drainDuration, two seconds.
  sleep 3
  pushed
}

"$1"
