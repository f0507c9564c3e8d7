# shellcheck shell=bash disable=SC2154
# Sourced by install_mesh.sh with EXTERNAL: istiod runs in a third cluster, without a workload of the mesh, and reads its
# rules in the primary. As Istio's guide "Install Istio with an External Control Plane" has it, but for addresses in place
# of host names with certificates of their own.
# By the environment, beside what install_mesh.sh takes:
#   OUTSIDE OUTSIDE_CONFIG           the third cluster's name, and kind's configuration for it

: "${OUTSIDE:?}" "${OUTSIDE_CONFIG:?}"
outside=kind-$OUTSIDE
on_outside() { "$KUBECTL" --context="$outside" "$@"; }
make_outside() { make_cluster "$OUTSIDE" "$OUTSIDE_CONFIG"; }

render_external() {
  cat >manifests/primary-config.yaml <<END
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  profile: remote
  meshConfig:
    accessLogFile: "$ACCESS_LOG"
  values:
    istiodRemote:
      injectionPath: /inject/cluster/primary/net/primary-network
    pilot:
      configMap: true
    global:
      istioNamespace: $SYSTEM_NAMESPACE
      configCluster: true
      meshID: splithorizon
      multiCluster:
        clusterName: primary
      network: primary-network
      imagePullPolicy: IfNotPresent
END
  cat >manifests/outside.yaml <<END
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  profile: empty
  meshConfig:
    accessLogFile: "$ACCESS_LOG"
  components:
    base:
      enabled: true
    pilot:
      enabled: true
      k8s:
        overlays:
          - kind: Deployment
            name: istiod
            patches:
              - path: spec.template.spec.volumes[100]
                value: |-
                  name: config-volume
                  configMap:
                    name: istio
              - path: spec.template.spec.volumes[100]
                value: |-
                  name: inject-volume
                  configMap:
                    name: istio-sidecar-injector
              - path: spec.template.spec.containers[0].volumeMounts[100]
                value: |-
                  name: config-volume
                  mountPath: /etc/istio/config
              - path: spec.template.spec.containers[0].volumeMounts[100]
                value: |-
                  name: inject-volume
                  mountPath: /var/lib/istio/inject
  values:
    global:
      istioNamespace: $SYSTEM_NAMESPACE
      externalIstiod: true
      operatorManageWebhooks: true
      configValidation: false
      meshID: splithorizon
      multiCluster:
        clusterName: primary
      network: primary-network
      imagePullPolicy: IfNotPresent
    pilot:
      autoscaleEnabled: false
      resources:
        requests:
          cpu: 50m
          memory: 256Mi
      env:
        INJECTION_WEBHOOK_CONFIG_NAME: istio-sidecar-injector
        VALIDATION_WEBHOOK_CONFIG_NAME: istio-validator-$SYSTEM_NAMESPACE
        LOCAL_CLUSTER_SECRET_WATCHER: "true"
        SHARED_MESH_CONFIG: istio
END
  cat >manifests/outside-istiod.yaml <<END
apiVersion: v1
kind: Service
metadata:
  name: istiod-outside
  namespace: $SYSTEM_NAMESPACE
spec:
  type: LoadBalancer
  selector:
    app: istiod
  ports:
    - name: tls-xds
      port: 15012
    - name: https-webhooks
      port: 15017
END
}

# A context, its name, its node's address: the secret by which the istiod outside watches the cluster.
watch_from_outside() {
  "$ISTIOCTL" create-remote-secret --context="$1" --istioNamespace="$SYSTEM_NAMESPACE" --name="$2" --server="https://$3:6443" |
    on_outside apply -f -
}

install_config() {
  istio_install "$primary" -f manifests/primary-config.yaml --set "values.global.remotePilotAddress=$outside_address"
}
install_data() {
  istio_install "$remote" -f manifests/remote.yaml --set "values.global.remotePilotAddress=$outside_address"
}

install_external() {
  on_primary apply -f manifests/primary-namespace.yaml
  on_primary annotate namespace "$SYSTEM_NAMESPACE" topology.istio.io/controlPlaneClusters=primary
  on_remote apply -f manifests/remote-namespace.yaml
  on_outside create namespace "$SYSTEM_NAMESPACE"
  create_cacerts "$outside" primary
  primary_address=$(address_of_node "$primary")
  remote_address=$(address_of_node "$remote")
  outside_address=$(address_of_node "$outside")
  side_by_side install_config install_data
  "$ISTIOCTL" create-remote-secret --context="$primary" --istioNamespace="$SYSTEM_NAMESPACE" --type=config \
    --namespace="$SYSTEM_NAMESPACE" --service-account=istiod --create-service-account=false \
    --server="https://$primary_address:6443" | on_outside apply -f -
  istio_install "$outside" -f manifests/outside.yaml -f manifests/overlays/upstream-envoy.yaml
  on_outside apply -f manifests/outside-istiod.yaml
  on_outside patch service istiod-outside -n "$SYSTEM_NAMESPACE" --subresource=status --type=merge \
    -p "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"$outside_address\"}]}}}"
  watch_from_outside "$remote" remote "$remote_address"
  await_injection "$primary"
  await_injection "$remote"
  istio_install "$primary" -f manifests/primary-eastwest-gateway.yaml
  istio_install "$remote" -f manifests/remote-eastwest-gateway.yaml
  on_primary apply -f manifests/cross-network-gateway.yaml -f manifests/strict-mtls.yaml
  give_gateway_address "$primary" "$primary_address"
  give_gateway_address "$remote" "$remote_address"
}
