#!/bin/sh
# Unusual: the Services of helloworld have sessionAffinity ClientIP and are exported to their namespace alone, and a second Service selects the
# same pods.
# Answer: sound: Envoy does not know kube-proxy's affinity, the clients are in that namespace, and another Service changes nothing.
# Kind: sound
. "$(dirname "$0")/lib.sh"

inject() {
  for cluster in primary remote; do
    "$cluster" -n sample patch service helloworld --type merge -p '{"spec": {"sessionAffinity": "ClientIP"}}'
    "$cluster" -n sample annotate service helloworld networking.istio.io/exportTo=.
    "$cluster" -n sample create service clusterip hello --tcp=5000:5000
    "$cluster" -n sample patch service hello --type merge -p '{"spec": {"selector": {"app": "helloworld"}}}'
  done
  pushed
}

undo() {
  for cluster in primary remote; do
    "$cluster" -n sample delete service hello
    "$cluster" -n sample annotate service helloworld networking.istio.io/exportTo-
    "$cluster" -n sample patch service helloworld --type merge -p '{"spec": {"sessionAffinity": "None"}}'
  done
  pushed
}

"$1"
