#!/bin/sh
# Broken: an EnvoyFilter gives v2's sidecar a Lua script whose function is not closed. Envoy refuses the whole listener; the old pod kept its last
# good one, but v2 was created again since, and its new sidecar never has an inbound listener: the pod is not ready, and no client reaches v2.
# Answer: EnvoyFilter primary/sample/v2-team-header: the Lua source of its envoy.filters.http.lua has no final "end"; v2's Envoy rejects the listener
# (LDS NACK).
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: v2-team-header
  namespace: sample
spec:
  workloadSelector:
    labels:
      app: helloworld
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
          name: envoy.filters.http.lua
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
            default_source_code:
              inline_string: |
                function envoy_on_response(handle)
                  handle:headers():add("x-team", "greeters")
YAML
  pushed
  remote -n sample scale deployment helloworld-v2 --replicas=0
  remote -n sample wait --for=delete pod -l app=helloworld --timeout=90s
  remote -n sample scale deployment helloworld-v2 --replicas=1
  sleep 6
  pushed
}

undo() {
  primary -n sample delete envoyfilter v2-team-header
  rolled remote sample helloworld-v2
  pushed
}

"$1"
