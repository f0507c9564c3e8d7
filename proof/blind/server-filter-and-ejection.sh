#!/bin/sh
# Broken: v2's own sidecar answers one request in ten with 500, and the clients eject what answered so twice: that is the gateway.
# Answer: EnvoyFilter primary/sample/v2-brownout: its envoy.filters.http.fault at v2's inbound (500, 10 %). DestinationRule
# primary/sample/helloworld-ejection with outlierDetection.consecutive5xxErrors=2 may be named too, never alone.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: v2-brownout
  namespace: sample
spec:
  workloadSelector:
    labels:
      version: v2
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
          name: envoy.filters.http.fault
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
            abort:
              http_status: 500
              percentage:
                numerator: 10
                denominator: HUNDRED
YAML
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: helloworld-ejection
  namespace: sample
spec:
  host: helloworld
  trafficPolicy:
    outlierDetection:
      consecutive5xxErrors: 2
      interval: 1s
      baseEjectionTime: 5s
      maxEjectionPercent: 100
YAML
  pushed
}

undo() {
  primary -n sample delete envoyfilter v2-brownout
  primary -n sample delete destinationrule helloworld-ejection
  # An ejected endpoint comes back after its ejection time.
  sleep 10
  pushed
}

"$1"
