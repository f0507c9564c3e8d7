#!/bin/sh
# Broken: network1 has two gateways, and the Gateway resource that opens services there was narrowed to the pods of the first site. cluster2's gateway
# listens at port 15443 no more, and its Service still says that it is a gateway of network1: what cluster3's client sends there for v2 is refused.
# A retry may be answered through cluster1's gateway; a connection without one is lost.
# Answer: Gateway cluster1/istio-system/cross-network-gateway: spec.selector has site=north, which the pod of cluster2's gateway lacks.
# Kind: fault
# Shape: three-clusters
. "$(dirname "$0")/lib.sh"

site() {
  cluster1 -n istio-system patch deployment istio-eastwestgateway --type merge \
    -p "{\"spec\": {\"template\": {\"metadata\": {\"labels\": {\"site\": $1}}}}}"
  rolled cluster1 istio-system istio-eastwestgateway
}

selector() {
  cluster1 -n istio-system patch gateway.networking.istio.io cross-network-gateway --type merge -p "{\"spec\": {\"selector\": {\"site\": $1}}}"
}

inject() {
  site '"north"'
  selector '"north"'
  # cluster2's proxies find istiod again behind the new pod of cluster1's gateway, after the drain of the old one of five seconds.
  sleep 10
  pushed
}

undo() {
  selector null
  site null
  sleep 10
  pushed
}

"$1"
