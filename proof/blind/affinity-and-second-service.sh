#!/bin/sh
# Broken: the Services of helloworld are exported to their namespace alone, so that no gateway knows them; they also have sessionAffinity ClientIP,
# and a second Service selects the same pods, which both change nothing.
# Answer: Services primary/sample/helloworld and remote/sample/helloworld: annotation networking.istio.io/exportTo=.
# Kind: fault
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
