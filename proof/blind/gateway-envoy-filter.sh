#!/bin/sh
# Broken: an EnvoyFilter admits connections to port 15443 of the gateways only from a partner's addresses.
# Answer: EnvoyFilter primary/istio-system/only-partners: its envoy.filters.network.rbac on port 15443 refuses the other network's sidecars.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: only-partners
  namespace: istio-system
spec:
  workloadSelector:
    labels:
      istio: eastwestgateway
  configPatches:
    - applyTo: NETWORK_FILTER
      match:
        context: GATEWAY
        listener:
          portNumber: 15443
          filterChain:
            filter:
              name: envoy.filters.network.tcp_proxy
      patch:
        operation: INSERT_BEFORE
        value:
          name: envoy.filters.network.rbac
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC
            stat_prefix: only_partners
            rules:
              action: ALLOW
              policies:
                partners:
                  permissions:
                    - any: true
                  principals:
                    - direct_remote_ip:
                        address_prefix: 192.0.2.0
                        prefix_len: 24
YAML
  # Connections of the listener that it replaces are closed after the gateway's drainDuration, five seconds.
  sleep 6
  pushed
}

undo() {
  primary -n istio-system delete envoyfilter only-partners
  sleep 6
  pushed
}

"$1"
