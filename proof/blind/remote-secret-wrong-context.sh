#!/bin/sh
# Broken: cluster1's remote secret for cluster2 was made again by istioctl create-remote-secret, with the right name and the context of cluster1
# itself; istiod was restarted since. Address, CA and token are valid, so istiod says that cluster2 is synced, but what it reads there is cluster1:
# it knows neither v2 nor cluster2's gateway. cluster2's client still reaches both versions.
# Answer: Secret cluster1/istio-system/istio-remote-secret-cluster2: its kubeconfig's server (and CA and token) is the API server of cluster1.
# Kind: fault
# Shape: multi-primary
. "$(dirname "$0")/lib.sh"

inject() {
  cluster1 -n istio-system get secret istio-remote-secret-cluster2 -o json > "$STATE/remote-secret.json"
  # cluster2's own remote secret has what leads to cluster1.
  cluster2 -n istio-system get secret istio-remote-secret-cluster1 -o json > "$STATE/other-secret.json"
  python3 - "$STATE/remote-secret.json" "$STATE/other-secret.json" <<'PYTHON' | cluster1 replace -f -
import base64, json, sys
secret, other = (json.load(open(name)) for name in sys.argv[1:])
kubeconfig = base64.b64decode(other["data"]["cluster1"]).decode().replace("cluster1", "cluster2")
secret["data"]["cluster2"] = base64.b64encode(kubeconfig.encode()).decode()
json.dump(secret, sys.stdout)
PYTHON
  restarted cluster1 istio-system istiod
  pushed
}

undo() {
  put_back cluster1 "$STATE/remote-secret.json"
  restarted cluster1 istio-system istiod
  pushed
}

"$1"
