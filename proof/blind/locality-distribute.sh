#!/bin/sh
# Broken: the primary's nodes were labelled with their region, and the mesh configuration keeps the traffic of that region in it. The remote's nodes
# have no region, so the primary's client, restarted since, holds no endpoint for v2. The remote's client is not concerned.
# Answer: ConfigMap primary/istio-system/istio: localityLbSetting.distribute sends 100 % from eu/* to eu/*, which leaves out the remote, whose nodes
# have no label topology.kubernetes.io/region.
# Kind: fault
. "$(dirname "$0")/lib.sh"

renewed() {
  restarted primary sample helloworld-v1
  restarted primary sample sleep
  pushed
}

inject() {
  primary label nodes --all topology.kubernetes.io/region=eu topology.kubernetes.io/zone=eu-1
  mesh_config mesh 'localityLbSetting: {enabled: true, distribute: [{from: "eu/*", to: {"eu/*": 100}}]}'
  renewed
}

undo() {
  mesh_config_restored mesh
  primary label nodes --all topology.kubernetes.io/region- topology.kubernetes.io/zone-
  renewed
}

"$1"
