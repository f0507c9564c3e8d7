#!/bin/sh
# Broken: the remote gateway's template names an image of the proxy that does not exist, and its old pod is gone: the new one never starts, and the
# primary's client does not reach v2.
# Answer: Deployment remote/istio-system/istio-eastwestgateway: annotation sidecar.istio.io/proxyImage=istio/proxyv2:1.29.1-distroles: the pod's
# container istio-proxy waits for an image that cannot be pulled (ErrImagePull, ImagePullBackOff).
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  replaced remote istio-system istio-eastwestgateway istio=eastwestgateway \
    '{"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/proxyImage": "istio/proxyv2:1.29.1-distroles"}}}}}'
  pushed
}

undo() {
  remote -n istio-system patch deployment istio-eastwestgateway --type strategic \
    -p '{"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/proxyImage": null}}}}}'
  rolled remote istio-system istio-eastwestgateway
  pushed
}

"$1"
