# What every fault uses. The environment names both contexts, both nodes, the engine and a folder for what the undo needs:
# PRIMARY, REMOTE (contexts), PRIMARY_NODE, REMOTE_NODE (containers), ENGINE (podman or docker), STATE (a private folder).
set -eu
umask 077

primary() { kubectl --context "$PRIMARY" "$@"; }
remote() { kubectl --context "$REMOTE" "$@"; }
remote_node() { "$ENGINE" exec "$REMOTE_NODE" "$@"; }

# istiod sends a change within a second or two; nothing in the API shows when the proxies have it.
pushed() { sleep 4; }

# rolled CLUSTER NAMESPACE DEPLOYMENT: waits until the new pods have replaced the old ones.
rolled() { "$1" -n "$2" rollout status "deployment/$3" --timeout=120s; }

# restarted CLUSTER NAMESPACE DEPLOYMENT: gives the Deployment new pods, and waits for them.
restarted() {
  "$1" -n "$2" rollout restart "deployment/$3"
  rolled "$1" "$2" "$3"
}
