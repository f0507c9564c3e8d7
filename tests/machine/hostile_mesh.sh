# What a company's mesh may have beside: sourced by install_mesh.sh where HOSTILE is set, in one shell with it.
# Rules for the whole mesh, a format of its own for access logs, watched namespaces, short certificates, an evicted pod,
# a revision tag, two addresses for each gateway, and an admission that refuses containers without limits or rights to drop.

HOSTILE_LABEL=istio-discovery
WATCHED_VALUE=enabled

# Settings of the mesh configuration, in the manifests before they are applied.
render_hostile() {
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
  name: restricted-with-limits
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE]
        resources: [pods]
  variables:
    # Istio's own need rights that are not for others: its CNI plug-in would do without.
    - name: containers
      expression: object.spec.containers.filter(one, !one.name.startsWith("istio-"))
  validations:
    - message: each container needs limits for cpu and memory
      expression: >-
        variables.containers.all(one, has(one.resources) && has(one.resources.limits) && "cpu" in one.resources.limits
        && "memory" in one.resources.limits)
    - message: each container has to drop all capabilities, and may not escalate its privileges
      expression: >-
        variables.containers.all(one, has(one.securityContext)
        && has(one.securityContext.allowPrivilegeEscalation) && !one.securityContext.allowPrivilegeEscalation
        && has(one.securityContext.capabilities) && has(one.securityContext.capabilities.drop)
        && one.securityContext.capabilities.drop.exists(name, name == "ALL"))
    - message: each pod has to run as a user other than root, by number, and with a seccomp profile
      expression: >-
        has(object.spec.securityContext) && has(object.spec.securityContext.runAsNonRoot)
        && object.spec.securityContext.runAsNonRoot && has(object.spec.securityContext.runAsUser)
        && object.spec.securityContext.runAsUser > 0 && has(object.spec.securityContext.seccompProfile)
        && object.spec.securityContext.seccompProfile.type == "RuntimeDefault"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: restricted-with-limits
spec:
  policyName: restricted-with-limits
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
