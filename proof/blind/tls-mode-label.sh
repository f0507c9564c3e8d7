#!/bin/sh
# Broken: v2's Deployment was written from an exported pod of a time without mutual TLS, with the label by which a pod says that it has none;
# v2 was created again since. Its sidecar still demands mutual TLS: nobody reaches v2, from either cluster.
# Answer: Deployment remote/sample/helloworld-v2: pod label security.istio.io/tlsMode=disabled: no endpoint across networks, and plain text nearby.
# Kind: fault
. "$(dirname "$0")/lib.sh"

label() {
  remote -n sample patch deployment helloworld-v2 --type merge \
    -p '{"spec": {"template": {"metadata": {"labels": {"security.istio.io/tlsMode": '"$1"'}}}}}'
  rolled remote sample helloworld-v2
  pushed
}

inject() { label '"disabled"'; }

undo() { label null; }

"$1"
