#!/bin/sh
# Broken: the mesh got another trust domain, without the old one as an alias, and no pod was restarted: every sidecar refuses the certificates that
# its callers still have. Nobody is answered by either version, near or far.
# Answer: ConfigMap primary/istio-system/istio: trustDomain=mesh.example.com, no trustDomainAliases, and the pods' certificates say cluster.local.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary -n istio-system get configmap istio -o json > "$STATE/istio.json"
  python3 - "$STATE/istio.json" <<'PYTHON' | primary -n istio-system patch configmap istio --type merge --patch-file /dev/stdin
import json, re, sys
text = json.load(open(sys.argv[1]))["data"]["mesh"]
text, times = re.subn(r"(?m)^trustDomain:.*$", "trustDomain: mesh.example.com", text)
json.dump({"data": {"mesh": text if times else text.rstrip() + "\ntrustDomain: mesh.example.com\n"}}, sys.stdout)
PYTHON
  # Connections of a replaced listener stay open for the sidecars' drainDuration, two seconds.
  sleep 3
  pushed
}

undo() {
  mesh_config_restored mesh
  sleep 3
  pushed
}

"$1"
