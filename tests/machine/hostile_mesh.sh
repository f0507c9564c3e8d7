# What a company's mesh may have beside: sourced by install_mesh.sh where HOSTILE is set, in one shell with it.
# Rules for the whole mesh, a format of its own for access logs, watched namespaces, short certificates, an evicted pod,
# a revision tag, two addresses for each gateway, an admission that refuses containers without limits, and Istio's CNI
# plug-in: the API servers, as existing_mesh.py configures them, refuse pods that Pod Security `restricted` forbids.
# CNI_ARCHIVE is the tar of the plug-in's image, which is in no node.

HOSTILE_LABEL=istio-discovery
WATCHED_VALUE=enabled

: "${CNI_ARCHIVE:?}"

# Settings of the mesh configuration and the plug-in, in the manifests before they are applied.
render_hostile() {
  cat >manifests/overlays/cni.yaml <<EOF
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  components:
    cni:
      enabled: true
  values:
    cni:
      excludeNamespaces: [kube-system, $SYSTEM_NAMESPACE]
EOF
  cat >manifests/overlays/hostile.yaml <<EOF
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  meshConfig:
    accessLogEncoding: JSON
    accessLogFormat: '{"when": "%START_TIME%", "what": "%REQ(:PATH)%", "who": "%REQ(X-REQUEST-ID)%"}'
    outboundTrafficPolicy:
      mode: REGISTRY_ONLY
    discoverySelectors:
      - matchLabels:
          $HOSTILE_LABEL: $WATCHED_VALUE
    defaultConfig:
      proxyMetadata:
        SECRET_TTL: 1h
EOF
  sed "s|SYSTEM_NAMESPACE|$SYSTEM_NAMESPACE|" >manifests/hostile-primary.yaml <<'EOF'
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: nobody
  namespace: SYSTEM_NAMESPACE
spec: {}
---
# Without it the other cluster's proxies and API server do not reach istiod.
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: istiod-by-the-gateway
  namespace: SYSTEM_NAMESPACE
spec:
  selector:
    matchLabels:
      istio: eastwestgateway
  action: ALLOW
  rules:
    - to:
        - operation:
            ports: ["15012", "15017"]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: nearest
  namespace: SYSTEM_NAMESPACE
spec:
  host: "*.local"
  trafficPolicy:
    loadBalancer:
      simple: ROUND_ROBIN
      localityLbSetting:
        enabled: true
        failoverPriority: [topology.istio.io/network]
    outlierDetection:
      consecutive5xxErrors: 5
      interval: 10s
      baseEjectionTime: 30s
EOF
  sed "s|SYSTEM_NAMESPACE|$SYSTEM_NAMESPACE|" >manifests/hostile-both.yaml <<'EOF'
apiVersion: v1
kind: Pod
metadata:
  name: istio-eastwestgateway-evicted
  namespace: SYSTEM_NAMESPACE
  labels:
    app: istio-eastwestgateway
    istio: eastwestgateway
    sidecar.istio.io/inject: "false"
spec:
  # It is scheduled by nobody: its status is written below.
  schedulerName: nobody
  containers:
    - name: istio-proxy
      image: evicted
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: with-limits
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE]
        resources: [pods]
  variables:
    - name: containers
      expression: "object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : [])"
  validations:
    - message: each container needs limits for cpu and memory
      expression: >-
        variables.containers.all(one, has(one.resources) && has(one.resources.limits) && "cpu" in one.resources.limits
        && "memory" in one.resources.limits)
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: with-limits
spec:
  policyName: with-limits
  validationActions: [Deny]
  matchResources:
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: NotIn
          values: [kube-system, local-path-storage, SYSTEM_NAMESPACE]
EOF
}

# A second address of a node, which its cluster's gateway has as well.
second_address() {
  awk -F. '{ print $1 "." $2 "." $3 "." ($4 + 128) % 256 }' <<<"$1"
}

add_address() {
  local network
  network=$("$ENGINE" exec "$1-control-plane" ip -o -4 address show dev eth0 | awk '{ print $4 }' | head -n 1)
  "$ENGINE" exec "$1-control-plane" ip address add "$(second_address "$2")/${network#*/}" dev eth0
}

load_cni() {
  "$KIND" load image-archive "$CNI_ARCHIVE" --name "$1"
}

# Before Istio comes: what its namespaces need.
prepare_hostile() {
  on_primary label namespace "$SYSTEM_NAMESPACE" "$HOSTILE_LABEL=$WATCHED_VALUE" --overwrite
  on_remote label namespace "$SYSTEM_NAMESPACE" "$HOSTILE_LABEL=$WATCHED_VALUE" --overwrite
  add_address "$PRIMARY" "$primary_address"
  add_address "$REMOTE" "$remote_address"
}

finish_hostile() {
  local context
  on_primary apply -f manifests/hostile-primary.yaml
  for context in "$primary" "$remote"; do
    "$KUBECTL" --context="$context" apply -f manifests/hostile-both.yaml
    "$KUBECTL" --context="$context" patch pod istio-eastwestgateway-evicted -n "$SYSTEM_NAMESPACE" --subresource=status \
      --type=merge -p '{"status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}}'
    "$ISTIOCTL" tag set prod --context="$context" --istioNamespace="$SYSTEM_NAMESPACE" --revision="${REVISION:-default}" \
      --overwrite --skip-confirmation
  done
}
