# What every fault uses. The environment names the contexts, the nodes, the engine and a folder for what the undo needs:
# PRIMARY, REMOTE (contexts), PRIMARY_NODE, REMOTE_NODE (containers), ENGINE (podman or docker), STATE (a private folder).
# In the shapes multi-primary and three-clusters: CLUSTER1, CLUSTER2, CLUSTER3 (contexts), and CLUSTER1_NODE and so on. A variable
# that a shape lacks is missed only where its function is called.
set -eu
umask 077

primary() { kubectl --context "$PRIMARY" "$@"; }
remote() { kubectl --context "$REMOTE" "$@"; }
remote_node() { "$ENGINE" exec "$REMOTE_NODE" "$@"; }

cluster1() { kubectl --context "$CLUSTER1" "$@"; }
cluster2() { kubectl --context "$CLUSTER2" "$@"; }
cluster3() { kubectl --context "$CLUSTER3" "$@"; }
cluster1_node() { "$ENGINE" exec "$CLUSTER1_NODE" "$@"; }
cluster2_node() { "$ENGINE" exec "$CLUSTER2_NODE" "$@"; }
cluster3_node() { "$ENGINE" exec "$CLUSTER3_NODE" "$@"; }

# istiod sends a change within a second or two; nothing in the API shows when the proxies have it.
pushed() { sleep 4; }

# rolled CLUSTER NAMESPACE DEPLOYMENT: waits until the new pods have replaced the old ones.
rolled() { "$1" -n "$2" rollout status "deployment/$3" --timeout=120s; }

# restarted CLUSTER NAMESPACE DEPLOYMENT: gives the Deployment new pods, and waits for them.
restarted() {
  "$1" -n "$2" rollout restart "deployment/$3"
  rolled "$1" "$2" "$3"
}

# kept_mesh_config CLUSTER: the file with istiod's ConfigMap from before mesh_config.
kept_mesh_config() { [ "$1" = primary ] && echo "$STATE/istio.json" || echo "$STATE/istio-$1.json"; }

# mesh_config [CLUSTER] KEY TEXT: adds lines to one key of istiod's ConfigMap (mesh, meshNetworks); the old text stays in $STATE.
# The cluster is the primary where none is named.
mesh_config() {
  [ $# -eq 3 ] || set -- primary "$@"
  "$1" -n istio-system get configmap istio -o json > "$(kept_mesh_config "$1")"
  python3 - "$(kept_mesh_config "$1")" "$2" "$3" <<'PYTHON' | "$1" -n istio-system patch configmap istio --type merge --patch-file /dev/stdin
import json, sys
text = json.load(open(sys.argv[1]))["data"][sys.argv[2]]
json.dump({"data": {sys.argv[2]: (text.rstrip() + "\n" if sys.argv[2] == "mesh" else "") + sys.argv[3] + "\n"}}, sys.stdout)
PYTHON
}

# mesh_config_restored [CLUSTER] KEY: the text from before mesh_config.
mesh_config_restored() {
  [ $# -eq 2 ] || set -- primary "$@"
  python3 - "$(kept_mesh_config "$1")" "$2" <<'PYTHON' | "$1" -n istio-system patch configmap istio --type merge --patch-file /dev/stdin
import json, sys
json.dump({"data": {sys.argv[2]: json.load(open(sys.argv[1]))["data"][sys.argv[2]]}}, sys.stdout)
PYTHON
}

# replaced CLUSTER NAMESPACE DEPLOYMENT LABEL PATCH: all pods of the old template go before the first of the new one, which
# need not become ready.
replaced() {
  "$1" -n "$2" scale deployment "$3" --replicas=0
  "$1" -n "$2" wait --for=delete pod -l "$4" --timeout=90s
  "$1" -n "$2" patch deployment "$3" --type strategic -p "$5"
  "$1" -n "$2" scale deployment "$3" --replicas=1
}

# put_back CLUSTER FILE: an object as it was when it was written to the file, in JSON.
put_back() {
  python3 - "$2" <<'PYTHON' | "$1" replace -f -
import json, sys
kept = json.load(open(sys.argv[1]))
del kept["metadata"]["resourceVersion"], kept["metadata"]["uid"]
json.dump(kept, sys.stdout)
PYTHON
}

# created_again CLUSTER FILE: an object that was deleted, as it was when it was written to the file, in JSON.
created_again() {
  python3 - "$2" <<'PYTHON' | "$1" create -f -
import json, sys
kept = json.load(open(sys.argv[1]))
for key in ("resourceVersion", "uid", "creationTimestamp", "generation"):
    kept["metadata"].pop(key, None)
json.dump(kept, sys.stdout)
PYTHON
}
