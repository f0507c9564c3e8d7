#!/bin/bash
# Two kind clusters and an Istio mesh on two networks, a primary and a remote or two primaries, for tests of runs with
# --contexts.
# Nothing of the suite runs here: istioctl and kubectl alone, as a platform team installs a mesh.
# What needs nothing of each other runs side by side.
#
# Works in the current folder, which takes keys, CAs and the manifests as they were applied. By the environment:
#   ENGINE KIND KUBECTL ISTIOCTL     programs; kind and the engine also heed KIND_EXPERIMENTAL_PROVIDER, CONTAINERS_CONF
#   PRIMARY REMOTE                   the clusters' names
#   PRIMARY_CONFIG REMOTE_CONFIG     kind's configuration for each
#   NODE_IMAGE HUB TAG               kind's node; where Istio's images come from
#   KUBECONFIG                       kind writes both contexts there
# and what shapes the mesh, each with a default:
#   REVISION                         istiod's revision; empty: the default one
#   SYSTEM_NAMESPACE                 of both clusters; istio-system
#   ACCESS_LOG                       what the whole mesh logs to; /dev/stdout, and empty for no access log
#   HOSTILE                          not empty: with all that hostile_mesh.sh adds
#   HELM                             not empty: that program installs Istio, as helm_mesh.sh has it
#   TWO_PRIMARIES                    not empty: an istiod in both clusters, west and east, each of which watches the other
#   EXTERNAL                         not empty: istiod in a third cluster, as external_mesh.sh has it
# A failure leaves the clusters as they are, to be looked at.
set -euo pipefail
umask 077
export LC_ALL=C

: "${ENGINE:?}" "${KIND:?}" "${KUBECTL:?}" "${ISTIOCTL:?}" "${KUBECONFIG:?}" "${PRIMARY:?}" "${REMOTE:?}"
: "${PRIMARY_CONFIG:?}" "${REMOTE_CONFIG:?}" "${NODE_IMAGE:?}" "${HUB:?}" "${TAG:?}"
: "${REVISION=}" "${SYSTEM_NAMESPACE:=istio-system}" "${ACCESS_LOG=/dev/stdout}" "${HOSTILE=}" "${HELM=}" "${TWO_PRIMARIES=}" "${EXTERNAL=}"

source_of_manifests=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../manifests/istio" && pwd)
primary=kind-$PRIMARY remote=kind-$REMOTE

# shellcheck source=tests/machine/hostile_mesh.sh
[ -z "$HOSTILE" ] || . "$(dirname "${BASH_SOURCE[0]}")/hostile_mesh.sh"
# shellcheck source=tests/machine/helm_mesh.sh
[ -z "$HELM" ] || . "$(dirname "${BASH_SOURCE[0]}")/helm_mesh.sh"

# shellcheck source=tests/machine/external_mesh.sh
[ -z "$EXTERNAL" ] || . "$(dirname "${BASH_SOURCE[0]}")/external_mesh.sh"

on_primary() { "$KUBECTL" --context="$primary" "$@"; }
on_remote() { "$KUBECTL" --context="$remote" "$@"; }

# Commands side by side, each of them one word; all have to succeed.
side_by_side() {
  local command children=() child
  for command in "$@"; do
    "$command" &
    children+=($!)
  done
  for child in "${children[@]}"; do wait "$child"; done
}
trap 'children=$(jobs -p); [ -z "$children" ] || kill $children 2>/dev/null || true' EXIT

# The manifests with this mesh's names and settings in them.
render_manifests() {
  local file istiod=istiod${REVISION:+-$REVISION}
  cp -R "$source_of_manifests" manifests
  while read -r file; do
    sed -i -e "s|istiod\.istio-system|$istiod.istio-system|" -e "s|istio-system|$SYSTEM_NAMESPACE|" \
      -e "s|accessLogFile: .*|accessLogFile: \"$ACCESS_LOG\"|" "$file"
    if grep -q "kind: IstioOperator" "$file"; then
      [ -z "$REVISION" ] || sed -i "0,/^spec:\$/s//spec:\n  revision: $REVISION/" "$file"
      sed -i "0,/^    global:\$/s//    global:\n      istioNamespace: $SYSTEM_NAMESPACE/" "$file"
    fi
  done < <(find manifests -name '*.yaml')
}

# The manifests of a primary under other names: the cluster's, its network's.
render_primary() {
  local part
  for part in "" -namespace -eastwest-gateway; do
    sed -e "s|primary-network|$2|" -e "s|clusterName: primary|clusterName: $1|" -e "s|externalIstiod: true|externalIstiod: false|" \
      "manifests/primary$part.yaml" >"manifests/$1$part.yaml"
  done
}

# As lab/network_isolation.py does: no packet of a test may find a way out.
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

# A cluster's name, kind's configuration for it.
make_cluster() {
  "$KIND" create cluster --name "$1" --image "$NODE_IMAGE" --config "$2"
  close_network "$1" "$2"
  [ -z "$HOSTILE" ] || load_cni "$1"
}
make_primary() { make_cluster "$PRIMARY" "$PRIMARY_CONFIG"; }
make_remote() { make_cluster "$REMOTE" "$REMOTE_CONFIG"; }

# As Istio's tools/certs/Makefile.selfsigned.mk makes them, with keys that take no seconds to make.
usage="keyUsage=critical,digitalSignature,nonRepudiation,keyEncipherment,keyCertSign"
new_key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1"; }

make_root() {
  new_key root-key.pem
  openssl req -new -key root-key.pem -subj "/O=Istio/CN=Root CA" -out root-cert.csr
  printf '%s\n' subjectKeyIdentifier=hash basicConstraints=critical,CA:true "$usage" >root-ca.conf
  openssl x509 -req -days 3650 -signkey root-key.pem -extfile root-ca.conf -in root-cert.csr -out root-cert.pem
}

make_intermediate() {
  mkdir "$1"
  new_key "$1/ca-key.pem"
  openssl req -new -key "$1/ca-key.pem" -subj "/O=Istio/CN=Intermediate CA/L=$1" -out "$1/cluster-ca.csr"
  printf '%s\n' subjectKeyIdentifier=hash authorityKeyIdentifier=keyid basicConstraints=critical,CA:true,pathlen:0 \
    "$usage" "subjectAltName=DNS:istiod.$SYSTEM_NAMESPACE.svc" >"$1/intermediate.conf"
  openssl x509 -req -days 730 -CA root-cert.pem -CAkey root-key.pem -CAcreateserial \
    -extfile "$1/intermediate.conf" -in "$1/cluster-ca.csr" -out "$1/ca-cert.pem"
  cat "$1/ca-cert.pem" root-cert.pem >"$1/cert-chain.pem"
}

# A context, and the folder of its CA.
create_cacerts() {
  "$KUBECTL" --context="$1" create secret generic cacerts -n "$SYSTEM_NAMESPACE" --from-file="$2/ca-cert.pem" \
    --from-file="$2/ca-key.pem" --from-file=root-cert.pem --from-file="$2/cert-chain.pem"
}

istio_install() {
  local context=$1
  shift
  "$ISTIOCTL" install --context="$context" -y --set "hub=$HUB" --set "tag=$TAG" "$@"
}

address_of_node() {
  local tries=0
  until "$KUBECTL" --context="$1" get nodes \
    -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}' 2>/dev/null | grep .; do
    ((++tries < 60)) || { echo "the node of $1 has no address" >&2; exit 1; }
    sleep 0.5
  done
}

give_gateway_address() {
  local addresses="{\"ip\":\"$2\"}"
  [ -z "$HOSTILE" ] || addresses+=",{\"ip\":\"$(second_address "$2")\"}"
  "$KUBECTL" --context="$1" patch service istio-eastwestgateway -n "$SYSTEM_NAMESPACE" --subresource=status --type=merge \
    -p "{\"status\":{\"loadBalancer\":{\"ingress\":[$addresses]}}}"
}

install_primary() {
  istio_install "$primary" -f manifests/primary.yaml -f manifests/overlays/upstream-envoy.yaml \
    ${HOSTILE:+-f manifests/overlays/hostile.yaml -f manifests/overlays/cni.yaml}
  istio_install "$primary" -f manifests/primary-eastwest-gateway.yaml
  on_primary apply -f manifests/expose-istiod.yaml -f manifests/cross-network-gateway.yaml -f manifests/strict-mtls.yaml
  give_gateway_address "$primary" "$primary_address"
}

# What istiod injects there, and the secret by which it learns of the cluster; the gateway has to wait for both.
install_remote() {
  istio_install "$remote" -f manifests/remote.yaml --set "values.global.remotePilotAddress=$primary_address" \
    ${HOSTILE:+-f manifests/overlays/cni.yaml}
  join_remote
}

join_remote() {
  "$ISTIOCTL" create-remote-secret --context="$remote" --istioNamespace="$SYSTEM_NAMESPACE" --name=remote \
    --server="https://$remote_address:6443" | on_primary apply -f -
}

# One of two primaries: its context, its name, its node's address.
install_equal() {
  istio_install "$1" -f "manifests/$2.yaml" -f manifests/overlays/upstream-envoy.yaml
  istio_install "$1" -f "manifests/$2-eastwest-gateway.yaml"
  "$KUBECTL" --context="$1" apply -f manifests/cross-network-gateway.yaml -f manifests/strict-mtls.yaml
  give_gateway_address "$1" "$3"
}
install_west() { install_equal "$primary" west "$primary_address"; }
install_east() { install_equal "$remote" east "$remote_address"; }

# Let each istiod watch the other cluster.
join_primaries() {
  "$ISTIOCTL" create-remote-secret --context="$remote" --istioNamespace="$SYSTEM_NAMESPACE" --name=east \
    --server="https://$remote_address:6443" | on_primary apply -f -
  "$ISTIOCTL" create-remote-secret --context="$primary" --istioNamespace="$SYSTEM_NAMESPACE" --name=west \
    --server="https://$primary_address:6443" | on_remote apply -f -
}

# A context.
await_injection() {
  local tries=0
  until "$KUBECTL" --context="$1" get mutatingwebhookconfigurations -l app=sidecar-injector \
    -o jsonpath='{.items[*].webhooks[*].clientConfig.caBundle}' | grep . >ca-bundle; do
    ((++tries < 120)) || { echo "istiod puts no CA into the webhooks of $1" >&2; exit 1; }
    sleep 1
  done
}

render_manifests
[ -z "$HOSTILE" ] || render_hostile
[ -z "$HELM" ] || render_for_helm
make_root
make_intermediate primary
make_intermediate remote
side_by_side make_primary make_remote ${EXTERNAL:+make_outside}

if [ -n "$EXTERNAL" ]; then
  render_external
  install_external
  exit
fi
first=primary second=remote
if [ -n "$TWO_PRIMARIES" ]; then
  first=west second=east
  render_primary west western
  render_primary east eastern
fi
on_primary apply -f "manifests/$first-namespace.yaml"
create_cacerts "$primary" primary
on_remote apply -f "manifests/$second-namespace.yaml"
create_cacerts "$remote" remote
primary_address=$(address_of_node "$primary")
remote_address=$(address_of_node "$remote")
if [ -n "$TWO_PRIMARIES" ]; then
  side_by_side install_west install_east
  join_primaries
  exit
fi

if [ -n "$HELM" ]; then
  install_by_helm
  exit
fi

[ -z "$HOSTILE" ] || prepare_hostile
side_by_side install_primary install_remote
await_injection "$remote"
istio_install "$remote" -f manifests/remote-eastwest-gateway.yaml
give_gateway_address "$remote" "$remote_address"
[ -z "$HOSTILE" ] || finish_hostile
