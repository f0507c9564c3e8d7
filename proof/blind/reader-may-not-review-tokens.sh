#!/bin/sh
# Broken: an audit took the right to review tokens from the remote's role for istiod, which "only reads". istiod still reads everything there, and can
# check no token of the remote's proxies: since its restart it admits none. v2 was created again since, gets no certificate and is never ready.
# Answer: ClusterRole remote/istio-reader-clusterrole-istio-system: no rule with create for tokenreviews (authentication.k8s.io): istiod may not check
# the tokens of the remote's proxies.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote get clusterrole istio-reader-clusterrole-istio-system -o json > "$STATE/role.json"
  python3 - "$STATE/role.json" <<'PYTHON' | remote replace -f -
import json, sys
role = json.load(open(sys.argv[1]))
kept = [rule for rule in role["rules"] if "tokenreviews" not in rule.get("resources", [])]
if kept == role["rules"]:
    sys.exit("the role has no rule for tokenreviews")
role["rules"] = kept
json.dump(role, sys.stdout)
PYTHON
  restarted primary istio-system istiod
  remote -n sample scale deployment helloworld-v2 --replicas=0
  remote -n sample wait --for=delete pod -l app=helloworld --timeout=90s
  remote -n sample scale deployment helloworld-v2 --replicas=1
  pushed
}

undo() {
  put_back remote "$STATE/role.json"
  restarted primary istio-system istiod
  # A proxy that was refused asks again after up to half a minute.
  sleep 15
  remote -n sample scale deployment helloworld-v2 --replicas=1
  restarted remote sample helloworld-v2
  pushed
}

"$1"
