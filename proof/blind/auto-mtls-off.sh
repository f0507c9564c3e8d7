#!/bin/sh
# Broken: the mesh configuration switches automatic mutual TLS off, from a time when every service had a DestinationRule. None has one here, so
# clients speak plain text, which the servers refuse and no gateway can lead on: nobody is answered by either version, near or far.
# Answer: ConfigMap primary/istio-system/istio: enableAutoMtls=false, while PeerAuthentication primary/istio-system/default is STRICT and no
# DestinationRule asks for ISTIO_MUTUAL.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  mesh_config mesh 'enableAutoMtls: false'
  pushed
}

undo() {
  mesh_config_restored mesh
  pushed
}

"$1"
