#!/bin/sh
# Broken: the remote's role for istiod lost the right to read EndpointSlices, and istiod was restarted since.
# Answer: ClusterRole remote/istio-reader-clusterrole-istio-system: no rule for endpointslices (discovery.k8s.io): istiod may not list them.
# Kind: fault
. "$(dirname "$0")/lib.sh"

ROLE=istio-reader-clusterrole-istio-system

inject() {
  remote get clusterrole "$ROLE" -o json > "$STATE/role.json"
  python3 - "$STATE/role.json" <<'PYTHON' | remote replace -f -
import json, sys
role = json.load(open(sys.argv[1]))
for rule in role["rules"]:
    rule["resources"] = [name for name in rule.get("resources", []) if name != "endpointslices"]
role["rules"] = [rule for rule in role["rules"] if rule["resources"]]
json.dump(role, sys.stdout)
PYTHON
  restarted primary istio-system istiod
  pushed
}

undo() {
  python3 - "$STATE/role.json" <<'PYTHON' | remote replace -f -
import json, sys
role = json.load(open(sys.argv[1]))
del role["metadata"]["resourceVersion"]
json.dump(role, sys.stdout)
PYTHON
  restarted primary istio-system istiod
  pushed
}

"$1"
