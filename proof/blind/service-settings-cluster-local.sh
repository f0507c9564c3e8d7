#!/bin/sh
# Broken: the mesh configuration keeps all services of the namespace in their cluster, for a migration that has ended.
# Answer: ConfigMap primary/istio-system/istio: serviceSettings has clusterLocal=true for *.sample.svc.cluster.local.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  mesh_config mesh 'serviceSettings: [{settings: {clusterLocal: true}, hosts: ["*.sample.svc.cluster.local"]}]'
  pushed
}

undo() {
  mesh_config_restored mesh
  pushed
}

"$1"
