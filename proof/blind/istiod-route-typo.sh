#!/bin/sh
# Broken: the route behind the gateway's ports for istiod names a namespace that is not there: the remote's sidecars lose istiod.
# Answer: VirtualService primary/istio-system/istiod-vs: tls[0].route destination istiod.istio.svc.cluster.local is no service.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary -n istio-system patch virtualservice istiod-vs --type json \
    -p '[{"op": "replace", "path": "/spec/tls/0/route/0/destination/host", "value": "istiod.istio.svc.cluster.local"}]'
  sleep 10
  pushed
}

undo() {
  primary -n istio-system patch virtualservice istiod-vs --type json \
    -p '[{"op": "replace", "path": "/spec/tls/0/route/0/destination/host", "value": "istiod.istio-system.svc.cluster.local"}]'
  sleep 20
  pushed
}

"$1"
