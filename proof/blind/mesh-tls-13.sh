#!/bin/sh
# Unusual: the mesh configuration admits only TLS 1.3 between workloads.
# Answer: sound: every sidecar speaks TLS 1.3, and gateways with AUTO_PASSTHROUGH do not end TLS.
# Kind: sound
. "$(dirname "$0")/lib.sh"

inject() {
  mesh_config mesh 'meshMTLS: {minProtocolVersion: TLSV1_3}'
  # Connections of a replaced listener stay open for the sidecars' drainDuration, two seconds.
  sleep 3
  pushed
}

undo() {
  mesh_config_restored mesh
  sleep 3
  pushed
}

"$1"
