#!/bin/sh
# Broken: the remote secret was made with the name of the primary's own cluster, and istiod was restarted since.
# Answer: Secret primary/istio-system/istio-remote-secret-remote: its key is primary, which is istiod's own cluster, so istiod ignores it.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary -n istio-system get secret istio-remote-secret-remote -o json > "$STATE/remote-secret.json"
  sed -e 's|"remote": "|"primary": "|' -e 's|"networking.istio.io/cluster": "remote"|"networking.istio.io/cluster": "primary"|' \
    "$STATE/remote-secret.json" > "$STATE/own-name.json"
  primary replace -f "$STATE/own-name.json"
  restarted primary istio-system istiod
  pushed
}

undo() {
  put_back primary "$STATE/remote-secret.json"
  restarted primary istio-system istiod
  pushed
}

"$1"
