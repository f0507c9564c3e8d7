#!/bin/sh
# Broken: an EnvoyFilter has the remote's gateway expect the PROXY protocol, which another load balancer spoke: every connection without it is
# closed, so the primary's client does not reach v2. The other direction is whole.
# Answer: EnvoyFilter primary/istio-system/remote-proxy-protocol: envoy.filters.listener.proxy_protocol at port 15443 of the remote's gateway.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: remote-proxy-protocol
  namespace: istio-system
spec:
  workloadSelector:
    labels:
      istio: eastwestgateway
      topology.istio.io/network: remote-network
  configPatches:
    - applyTo: LISTENER_FILTER
      match:
        context: GATEWAY
        listener:
          portNumber: 15443
      patch:
        operation: INSERT_FIRST
        value:
          name: envoy.filters.listener.proxy_protocol
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol
YAML
  # Connections of the listener that it replaces are closed after the gateway's drainDuration, five seconds.
  sleep 6
  pushed
}

undo() {
  primary -n istio-system delete envoyfilter remote-proxy-protocol
  sleep 6
  pushed
}

"$1"
