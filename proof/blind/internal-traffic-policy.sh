#!/bin/sh
# Broken: the Service of helloworld has internalTrafficPolicy Local in both clusters, against costs between zones.
# Answer: Service helloworld of both clusters: spec.internalTrafficPolicy=Local: clients get endpoints of their own node alone, and no gateway.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  for cluster in primary remote; do
    "$cluster" -n sample patch service helloworld --type merge -p '{"spec": {"internalTrafficPolicy": "Local"}}'
  done
  pushed
}

undo() {
  for cluster in primary remote; do
    "$cluster" -n sample patch service helloworld --type merge -p '{"spec": {"internalTrafficPolicy": "Cluster"}}'
  done
  pushed
}

"$1"
