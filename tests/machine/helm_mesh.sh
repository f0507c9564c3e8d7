# A mesh that Helm installs: sourced by install_mesh.sh where HELM is set, in one shell with it.
# Another cluster domain, another trust domain with an alias, a preference of localities, access logs off everywhere, the
# NetworkPolicies of the charts, and a gateway of the remote that no label of its Service shows: a Gateway of Gateway API in
# the primary, of class istio-remote, names it.
#
# By the environment:
#   HELM                             the program
#   CHARTS                           manifests/charts of Istio's Go module
#   GATEWAY_API                      config/crd of Gateway API's Go module

: "${CHARTS:?}" "${GATEWAY_API:?}"

CLUSTER_DOMAIN=k8s.corp.test
export HELM_CACHE_HOME=$PWD/helm/cache HELM_CONFIG_HOME=$PWD/helm/config HELM_DATA_HOME=$PWD/helm/data

# kind's configurations with the cluster domain, the manifests with it, and the values of the charts.
render_for_helm() {
  local file patch
  patch="{\"kind\": \"ClusterConfiguration\", \"networking\": {\"dnsDomain\": \"$CLUSTER_DOMAIN\"}}"
  for file in "$PRIMARY_CONFIG" "$REMOTE_CONFIG"; do
    sed -i "s|^kubeadmConfigPatches:\$|&\n- '$patch'|" "$file"
    grep -q "$CLUSTER_DOMAIN" "$file"
  done
  sed -i "s|svc\.cluster\.local|svc.$CLUSTER_DOMAIN|" manifests/expose-istiod.yaml
  sed -i "s|\"\*\.local\"|\"*.$CLUSTER_DOMAIN\"|" manifests/cross-network-gateway.yaml
  grep -q "$CLUSTER_DOMAIN" manifests/expose-istiod.yaml
  grep -q "$CLUSTER_DOMAIN" manifests/cross-network-gateway.yaml
  render_values primary
  render_values remote
  render_values_of_parts
  render_rules
}

# The values of one cluster's charts. Sidecars run upstream Envoy: what needs filters of Istio's own build is off.
render_values() {
  cat >"values-$1.yaml" <<EOF
global:
  hub: $HUB
  tag: "$TAG"
  imagePullPolicy: IfNotPresent
  istioNamespace: $SYSTEM_NAMESPACE
  meshID: corp
  network: $1-network
  multiCluster:
    clusterName: $1
  networkPolicy:
    enabled: true
  proxy:
    clusterDomain: $CLUSTER_DOMAIN
    # With Istio's 15 s a gateway that is not ready at the first probe waits as long.
    readinessPeriodSeconds: 1
    resources:
      requests:
        cpu: 10m
        memory: 64Mi
# The profile remote has no mesh configuration. But istiod reads the remote's there: without it the remote's pods are expected in
# the trust domain cluster.local, and every connection to a Service that has pods in the remote alone fails.
configMap: true
meshConfig:
  trustDomain: corp.test
  trustDomainAliases: [before-the-merger.test]
EOF
}

# The values of both gateways, of istiod, and of the remote's gateway alone.
render_values_of_parts() {
  # The chart's NetworkPolicy admits these ports, also where its Service has others.
  cat >values-gateway.yaml <<EOF
global:
  networkPolicy:
    enabled: true
# The chart's image is "auto", for which Kubernetes would always ask a registry.
imagePullPolicy: IfNotPresent
resources:
  requests:
    cpu: 10m
    memory: 64Mi
service:
  ports:
    - name: status-port
      port: 15021
      targetPort: 15021
    - name: tls
      port: 15443
      targetPort: 15443
    - name: tls-istiod
      port: 15012
      targetPort: 15012
    - name: tls-webhook
      port: 15017
      targetPort: 15017
EOF
  cat >values-istiod.yaml <<EOF
global:
  externalIstiod: true
resources:
  requests:
    cpu: 50m
    memory: 256Mi
telemetry:
  enabled: false
env:
  PILOT_ENABLE_ALPN_FILTER: "false"
  PILOT_ENABLE_METADATA_EXCHANGE: "false"
meshConfig:
  localityLbSetting:
    enabled: true
    distribute:
      - from: "north/*"
        to: {"north/*": 90, "south/*": 10}
      - from: "south/*"
        to: {"north/*": 10, "south/*": 90}
EOF
  cat >values-remote-gateway.yaml <<EOF
env:
  ISTIO_META_REQUESTED_NETWORK_VIEW: remote-network
EOF
}

# Rules for the whole mesh, and the Gateway that names the remote's gateway, whose address is not known yet.
render_rules() {
  sed -e "s|SYSTEM_NAMESPACE|$SYSTEM_NAMESPACE|" -e "s|CLUSTER_DOMAIN|$CLUSTER_DOMAIN|" >manifests/helm-primary.yaml <<'EOF'
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata:
  name: no-access-logs
  namespace: SYSTEM_NAMESPACE
spec:
  accessLogging:
    - disabled: true
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: nearest
  namespace: SYSTEM_NAMESPACE
spec:
  host: "*.CLUSTER_DOMAIN"
  trafficPolicy:
    outlierDetection:
      consecutive5xxErrors: 5
      interval: 10s
      baseEjectionTime: 30s
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: remote-network
  namespace: SYSTEM_NAMESPACE
  labels:
    topology.istio.io/network: remote-network
spec:
  gatewayClassName: istio-remote
  addresses:
    - type: IPAddress
      value: REMOTE_ADDRESS
  listeners:
    - name: cross-network
      port: 15443
      protocol: TLS
      tls:
        mode: Passthrough
        options:
          gateway.istio.io/listener-mode: auto-passthrough
EOF
}

# A context, a release, its chart, and more arguments.
helm_install() {
  "$HELM" --kube-context "$1" install "$2" "$CHARTS/$3" --namespace "$SYSTEM_NAMESPACE" --timeout 120s "${@:4}"
}

# What the charts build on: the kinds of Gateway API, and the places of the nodes. A context and a region.
prepare_for_helm() {
  "$KUBECTL" --context="$1" apply --server-side -k "$GATEWAY_API"
  "$KUBECTL" --context="$1" label node --all "topology.kubernetes.io/region=$2" "topology.kubernetes.io/zone=$2-1"
}

await_gateway() {
  "$KUBECTL" --context="$1" rollout status deployment/istio-eastwestgateway -n "$SYSTEM_NAMESPACE" --timeout=120s && return
  {
    "$KUBECTL" --context="$1" logs deployment/istio-eastwestgateway -n "$SYSTEM_NAMESPACE" --tail=8 || true
    "$KUBECTL" --context="$1" get events -n "$SYSTEM_NAMESPACE" --field-selector=type=Warning
  } 2>&1 | tail -n 20 >&2
  return 1
}

# Built nodes enforce no NetworkPolicy: this adds the rules of the packet filter that one stands for. A context, its cluster, the
# name of the policy, and the label of its pods.
enforce_policy() {
  local address port ports filter=("$ENGINE" exec "$2-control-plane" iptables --table mangle --append FORWARD)
  address=$("$KUBECTL" --context="$1" get pods -n "$SYSTEM_NAMESPACE" -l "$4" -o jsonpath='{.items[0].status.podIP}')
  ports=$("$KUBECTL" --context="$1" get networkpolicy "$3" -n "$SYSTEM_NAMESPACE" -o jsonpath='{.spec.ingress[*].ports[*].port}')
  for port in $ports; do
    "${filter[@]}" --destination "$address" --protocol tcp --dport "$port" --jump RETURN
  done
  "${filter[@]}" --destination "$address" --protocol tcp --syn --jump DROP
}

install_primary_by_helm() {
  prepare_for_helm "$primary" north
  helm_install "$primary" istio-base base -f values-primary.yaml
  helm_install "$primary" istiod istio-control/istio-discovery -f values-primary.yaml -f values-istiod.yaml --wait
  helm_install "$primary" istio-eastwestgateway gateway -f values-gateway.yaml --set networkGateway=primary-network
  on_primary apply -f manifests/expose-istiod.yaml -f manifests/cross-network-gateway.yaml -f manifests/strict-mtls.yaml
  sed "s|REMOTE_ADDRESS|$remote_address|" manifests/helm-primary.yaml | on_primary apply -f -
  give_gateway_address "$primary" "$primary_address"
  await_gateway "$primary"
  enforce_policy "$primary" "$PRIMARY" istiod app=istiod
  enforce_policy "$primary" "$PRIMARY" istio-eastwestgateway istio=eastwestgateway
}

install_remote_by_helm() {
  prepare_for_helm "$remote" south
  helm_install "$remote" istio-base base -f values-remote.yaml --set profile=remote
  helm_install "$remote" istiod istio-control/istio-discovery -f values-remote.yaml --set profile=remote \
    --set istiodRemote.injectionPath=/inject/cluster/remote/net/remote-network \
    --set "global.remotePilotAddress=$primary_address"
  join_remote
}

install_by_helm() {
  side_by_side install_primary_by_helm install_remote_by_helm
  await_injection "$remote"
  helm_install "$remote" istio-eastwestgateway gateway -f values-gateway.yaml -f values-remote-gateway.yaml
  give_gateway_address "$remote" "$remote_address"
  await_gateway "$remote"
  enforce_policy "$remote" "$REMOTE" istio-eastwestgateway istio=eastwestgateway
}
