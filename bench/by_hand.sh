#!/bin/bash
# Istio's split-horizon guide for today's Istio, as the commands that a careful person runs one after the other: two
# clusters, a primary and a remote Istio, helloworld, twenty requests by curl from each side, and the access log.
# It loses no time by installing something before its requirements are ready.
#
# Keys and CAs are written into the current folder. The environment contains:
#   ENGINE KIND KUBECTL ISTIOCTL         programs; kind and the engine also heed KIND_EXPERIMENTAL_PROVIDER, CONTAINERS_CONF
#   PRIMARY REMOTE                       the clusters' names
#   PRIMARY_CONFIG REMOTE_CONFIG         kind's configuration for each
#   NODE_IMAGE HUB TAG                   kind's node; where Istio's images come from
#   HELLOWORLD_V1 HELLOWORLD_V2 CURL     the workloads' images
#   KUBECONFIG                           kind writes both contexts there
# After a failure the clusters stay, for inspection.
set -euo pipefail
umask 077
export LC_ALL=C

: "${ENGINE:?}" "${KIND:?}" "${KUBECTL:?}" "${ISTIOCTL:?}" "${KUBECONFIG:?}" "${PRIMARY:?}" "${REMOTE:?}"
: "${PRIMARY_CONFIG:?}" "${REMOTE_CONFIG:?}" "${NODE_IMAGE:?}" "${HUB:?}" "${TAG:?}"
: "${HELLOWORLD_V1:?}" "${HELLOWORLD_V2:?}" "${CURL:?}"

manifests=$(cd "$(dirname "${BASH_SOURCE[0]}")/../manifests" && pwd)
primary=kind-$PRIMARY remote=kind-$REMOTE

# Prints the time at which a step begins, for the reader of the output.
step() { echo "@ $EPOCHREALTIME $*"; }

# Isolates a network as lab/network_isolation.py does: no packet of a test may leave it.
close_network() {
  local node=$1-control-plane services route routes
  services=$(awk '$1 == "serviceSubnet:" { print $2 }' "$2")
  "$ENGINE" exec "$node" ip route replace "$services" dev eth0 scope link
  "$ENGINE" exec "$node" ip route replace unreachable default metric 0
  routes=$("$ENGINE" exec "$node" ip route show default)
  while read -ra route; do
    [ "${route[0]:-}" != default ] || "$ENGINE" exec "$node" ip route del "${route[@]}" </dev/null
  done <<<"$routes"
  "$ENGINE" exec "$node" sysctl --quiet --write net.ipv4.icmp_ratelimit=0
}

address_of_node() {
  "$KUBECTL" --context="$1" get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}'
}

# As Istio's tools/certs/Makefile.selfsigned.mk makes them.
usage="keyUsage=critical,digitalSignature,nonRepudiation,keyEncipherment,keyCertSign"
make_root() {
  openssl genrsa -out root-key.pem 4096
  openssl req -new -key root-key.pem -subj "/O=Istio/CN=Root CA" -out root-cert.csr
  printf '%s\n' subjectKeyIdentifier=hash basicConstraints=critical,CA:true "$usage" >root-ca.conf
  openssl x509 -req -days 3650 -signkey root-key.pem -extfile root-ca.conf -in root-cert.csr -out root-cert.pem
}

make_intermediate() {
  mkdir "$1"
  openssl genrsa -out "$1/ca-key.pem" 4096
  openssl req -new -key "$1/ca-key.pem" -subj "/O=Istio/CN=Intermediate CA/L=$1" -out "$1/cluster-ca.csr"
  printf '%s\n' subjectKeyIdentifier=hash basicConstraints=critical,CA:true,pathlen:0 "$usage" \
    subjectAltName=DNS:istiod.istio-system.svc >"$1/intermediate.conf"
  openssl x509 -req -days 730 -CA root-cert.pem -CAkey root-key.pem -CAcreateserial \
    -extfile "$1/intermediate.conf" -in "$1/cluster-ca.csr" -out "$1/ca-cert.pem"
  cat "$1/ca-cert.pem" root-cert.pem >"$1/cert-chain.pem"
  cp root-cert.pem "$1"
}

# A context, and the folder of its CA.
create_cacerts() {
  "$KUBECTL" --context="$1" create secret generic cacerts -n istio-system --from-file="$2/ca-cert.pem" \
    --from-file="$2/ca-key.pem" --from-file="$2/root-cert.pem" --from-file="$2/cert-chain.pem"
}

istio_install() {
  local context=$1
  shift
  "$ISTIOCTL" install --context="$context" -y --set "hub=$HUB" --set "tag=$TAG" "$@"
}

give_gateway_address() {
  "$KUBECTL" --context="$1" patch service istio-eastwestgateway -n istio-system --subresource=status --type=merge \
    -p "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"$2\"}]}}}"
}

await_injection() {
  local tries=0
  until "$KUBECTL" --context="$1" get mutatingwebhookconfigurations -l app=sidecar-injector \
    -o jsonpath='{.items[*].webhooks[*].clientConfig.caBundle}' | grep . >ca-bundle; do
    ((++tries < 120)) || { echo "istiod writes no CA into the webhooks of $1" >&2; exit 1; }
    sleep 1
  done
}

# A context, and the version of helloworld that runs there.
deploy() {
  "$KUBECTL" --context="$1" apply -f "$manifests/workloads/namespace.yaml"
  "$KUBECTL" --context="$1" apply -f "$manifests/workloads/helloworld-service.yaml"
  sed -e "s|image: .*examples-helloworld-v1:.*|image: $HELLOWORLD_V1|" \
    -e "s|image: .*examples-helloworld-v2:.*|image: $HELLOWORLD_V2|" \
    "$manifests/workloads/helloworld-$2.yaml" | "$KUBECTL" --context="$1" apply -f -
  sed -e "s|image: .*curl:.*|image: $CURL|" "$manifests/workloads/sleep.yaml" |
    "$KUBECTL" --context="$1" apply -f -
}

send_requests() {
  local pod version
  pod=$("$KUBECTL" --context="$1" get pod -n sample -l app=sleep -o jsonpath='{.items[0].metadata.name}')
  for _ in {1..20}; do
    "$KUBECTL" --context="$1" exec -n sample -c sleep "$pod" -- curl -sS --fail helloworld.sample:5000/hello </dev/null
  done | tee "replies-$1"
  for version in v1 v2; do
    grep --count "version: $version" "replies-$1" || { echo "no reply of $version at $1" >&2; exit 1; }
  done
  "$KUBECTL" --context="$1" logs -n sample "$pod" -c istio-proxy >"log-$1"
  grep 15443 "log-$1" || { echo "no request of $1 went to a gateway" >&2; exit 1; }
}

step "kind cluster, primary"
"$KIND" create cluster --name "$PRIMARY" --image "$NODE_IMAGE" --config "$PRIMARY_CONFIG" --wait 180s
close_network "$PRIMARY" "$PRIMARY_CONFIG"
step "kind cluster, remote"
"$KIND" create cluster --name "$REMOTE" --image "$NODE_IMAGE" --config "$REMOTE_CONFIG" --wait 180s
close_network "$REMOTE" "$REMOTE_CONFIG"

step "system namespaces and CAs"
make_root
make_intermediate primary
make_intermediate remote
"$KUBECTL" --context="$primary" apply -f "$manifests/istio/primary-namespace.yaml"
create_cacerts "$primary" primary
"$KUBECTL" --context="$remote" apply -f "$manifests/istio/remote-namespace.yaml"
create_cacerts "$remote" remote

step "istiod, primary"
istio_install "$primary" -f "$manifests/istio/primary.yaml" -f "$manifests/istio/overlays/upstream-envoy.yaml"
step "gateway, primary"
istio_install "$primary" -f "$manifests/istio/primary-eastwest-gateway.yaml"
"$KUBECTL" --context="$primary" apply -f "$manifests/istio/expose-istiod.yaml"
"$KUBECTL" --context="$primary" apply -f "$manifests/istio/cross-network-gateway.yaml"
"$KUBECTL" --context="$primary" apply -f "$manifests/istio/strict-mtls.yaml"
primary_address=$(address_of_node "$primary")
give_gateway_address "$primary" "$primary_address"

step "Istio's remote part, and its secret"
istio_install "$remote" -f "$manifests/istio/remote.yaml" --set "values.global.remotePilotAddress=$primary_address"
remote_address=$(address_of_node "$remote")
"$ISTIOCTL" create-remote-secret --context="$remote" --name=remote --server="https://$remote_address:6443" |
  "$KUBECTL" --context="$primary" apply -f -
await_injection "$remote"
step "gateway, remote"
istio_install "$remote" -f "$manifests/istio/remote-eastwest-gateway.yaml"
give_gateway_address "$remote" "$remote_address"

step "workloads"
deploy "$remote" v2
deploy "$primary" v1
"$KUBECTL" --context="$remote" wait --for=condition=available deployment --all -n sample --timeout=180s
"$KUBECTL" --context="$primary" wait --for=condition=available deployment --all -n sample --timeout=180s

step "requests and access log, primary"
send_requests "$primary"
step "requests and access log, remote"
send_requests "$remote"

step "clusters deleted"
"$KIND" delete cluster --name "$REMOTE"
"$KIND" delete cluster --name "$PRIMARY"
step "end"
