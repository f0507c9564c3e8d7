#!/bin/sh
# Unusual: the mesh admits only registered hosts (REGISTRY_ONLY), and a Sidecar limits what the clients' namespace knows to itself and istio-system.
# Answer: sound: helloworld is in the clients' own namespace.
# Kind: sound
. "$(dirname "$0")/lib.sh"

inject() {
  primary -n istio-system get configmap istio -o json > "$STATE/mesh.json"
  python3 - "$STATE/mesh.json" <<'PYTHON' | primary -n istio-system patch configmap istio --type merge --patch-file /dev/stdin
import json, sys
mesh = json.load(open(sys.argv[1]))["data"]["mesh"]
assert "outboundTrafficPolicy" not in mesh
json.dump({"data": {"mesh": mesh.rstrip() + "\noutboundTrafficPolicy:\n  mode: REGISTRY_ONLY\n"}}, sys.stdout)
PYTHON
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata:
  name: default
  namespace: sample
spec:
  egress:
    - hosts: ["./*", "istio-system/*"]
YAML
  pushed
}

undo() {
  primary -n sample delete sidecar default
  python3 - "$STATE/mesh.json" <<'PYTHON' | primary -n istio-system patch configmap istio --type merge --patch-file /dev/stdin
import json, sys
json.dump({"data": {"mesh": json.load(open(sys.argv[1]))["data"]["mesh"]}}, sys.stdout)
PYTHON
  pushed
}

"$1"
