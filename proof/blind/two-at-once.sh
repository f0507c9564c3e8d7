#!/bin/sh
# Broken, twice: the remote's Service of helloworld selects the other version, and the label of the primary's gateway Service has a typo.
# Answer: Service remote/sample/helloworld: spec.selector version=v1 selects none of its pods; and, beside it,
# Service primary/istio-system/istio-eastwestgateway: label topology.istio.io/network=primary-networks names no network that pods are on.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote -n sample patch service helloworld --type merge -p '{"spec": {"selector": {"version": "v1"}}}'
  primary -n istio-system label service istio-eastwestgateway topology.istio.io/network=primary-networks --overwrite
  pushed
}

undo() {
  remote -n sample patch service helloworld --type merge -p '{"spec": {"selector": {"version": null}}}'
  primary -n istio-system label service istio-eastwestgateway topology.istio.io/network=primary-network --overwrite
  pushed
}

"$1"
