#!/bin/sh
# Broken, twice: services are visible to their own namespace alone, unless they say otherwise, so no gateway knows helloworld and no client reaches
# the other network; and the remote's client was created again with the label that keeps the sidecar away, so v2 refuses its plain text.
# Answer: ConfigMap primary/istio-system/istio: defaultServiceExportTo is "." alone; and, beside it, Deployment remote/sample/sleep: pod label
# sidecar.istio.io/inject=false.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject_label() {
  remote -n sample patch deployment sleep --type merge \
    -p '{"spec": {"template": {"metadata": {"labels": {"sidecar.istio.io/inject": '"$1"'}}}}}'
  rolled remote sample sleep
}

inject() {
  mesh_config mesh 'defaultServiceExportTo: ["."]'
  inject_label '"false"'
  # Connections of a replaced filter chain are closed after the gateway's drainDuration, five seconds.
  sleep 6
  pushed
}

undo() {
  mesh_config_restored mesh
  inject_label null
  sleep 6
  pushed
}

"$1"
