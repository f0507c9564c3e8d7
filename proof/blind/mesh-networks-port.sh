#!/bin/sh
# Broken: meshNetworks adds the remote's gateway with a wrong port: half of what goes there meets a closed port.
# Answer: ConfigMap primary/istio-system/istio: meshNetworks gives remote-network a gateway at the gateway's address and port 15444.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  address=$(remote -n istio-system get service istio-eastwestgateway -o jsonpath='{.status.loadBalancer.ingress[0].ip}')
  mesh_config meshNetworks "{networks: {remote-network: {endpoints: [{fromRegistry: remote}], gateways: [{address: $address, port: 15444}]}}}"
  pushed
}

undo() {
  mesh_config_restored meshNetworks
  pushed
}

"$1"
