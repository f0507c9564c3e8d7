#!/bin/sh
# Unusual: cluster1's mesh networks still have the gateway of network2 from the time before labels, at an address where nothing is any more.
# cluster2's configuration has none.
# Answer: sound: cluster2's gateway is known by the label of its Service, and istiod takes a gateway that belongs to the network and the pod's
# cluster before those of the network alone, so nobody is sent to 192.0.2.40.
# Kind: sound
# Shape: multi-primary
. "$(dirname "$0")/lib.sh"

inject() {
  mesh_config cluster1 meshNetworks '{networks: {network2: {endpoints: [{fromRegistry: cluster2}], gateways: [{address: 192.0.2.40, port: 443}]}}}'
  pushed
}

undo() {
  mesh_config_restored cluster1 meshNetworks
  pushed
}

"$1"
