#!/bin/sh
# Broken: an EnvoyFilter against floods admits one new connection a minute for each service at port 15443 of the gateways. A connection that is open
# stays open, so many requests are answered; what needs a new one is cut off, in both directions.
# Answer: EnvoyFilter primary/istio-system/flood-guard: envoy.filters.network.local_ratelimit (1 token in 60 s) at port 15443 of the gateways.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: flood-guard
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
          name: envoy.filters.network.local_ratelimit
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit
            stat_prefix: flood_guard
            token_bucket:
              max_tokens: 1
              tokens_per_fill: 1
              fill_interval: 60s
YAML
  # Connections of the listener that it replaces are closed after the gateway's drainDuration, five seconds.
  sleep 6
  pushed
}

undo() {
  primary -n istio-system delete --ignore-not-found envoyfilter flood-guard
  sleep 6
  pushed
}

"$1"
