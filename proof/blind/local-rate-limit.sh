#!/bin/sh
# Broken: a rate limit of a load test admits ten requests a minute to v1; its sidecar answers all others with 429, to the clients of both clusters.
# A DestinationRule without mutual TLS is there, too, for a service that does not exist any more.
# Answer: EnvoyFilter primary/sample/v1-rate-limit: envoy.filters.http.local_ratelimit at v1's inbound (10 tokens in 60 s, 429). (DestinationRule
# helloworld-old is innocent.)
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: v1-rate-limit
  namespace: sample
spec:
  workloadSelector:
    labels:
      app: helloworld
      version: v1
  configPatches:
    - applyTo: HTTP_FILTER
      match:
        context: SIDECAR_INBOUND
        listener:
          filterChain:
            filter:
              name: envoy.filters.network.http_connection_manager
              subFilter:
                name: envoy.filters.http.router
      patch:
        operation: INSERT_BEFORE
        value:
          name: envoy.filters.http.local_ratelimit
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
            stat_prefix: v1_rate_limit
            token_bucket:
              max_tokens: 10
              tokens_per_fill: 10
              fill_interval: 60s
            filter_enabled:
              runtime_key: v1_rate_limit_enabled
              default_value:
                numerator: 100
                denominator: HUNDRED
            filter_enforced:
              runtime_key: v1_rate_limit_enforced
              default_value:
                numerator: 100
                denominator: HUNDRED
YAML
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-old
  namespace: sample
spec:
  host: helloworld-old.sample.svc.cluster.local
  trafficPolicy:
    tls:
      mode: DISABLE
YAML
  # Connections of a replaced listener stay open for the sidecars' drainDuration, two seconds.
  sleep 3
  pushed
}

undo() {
  primary -n sample delete envoyfilter v1-rate-limit
  primary -n sample delete destinationrule helloworld-old
  sleep 3
  pushed
}

"$1"
