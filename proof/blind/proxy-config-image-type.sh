#!/bin/sh
# Broken: a ProxyConfig asks for a hardened image in the whole namespace, of a type that is not published. What runs goes on; v2's pod was evicted
# since, and its new sidecar never starts: no client reaches v2. The next new pod of the primary would fare no better.
# Answer: ProxyConfig primary/sample/hardened: spec.image.imageType=fips: the image of v2's container istio-proxy ends with -fips and cannot be pulled
# (ErrImagePull, ImagePullBackOff).
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata:
  name: hardened
  namespace: sample
spec:
  image:
    imageType: fips
YAML
  pushed
  remote -n sample scale deployment helloworld-v2 --replicas=0
  remote -n sample wait --for=delete pod -l app=helloworld --timeout=90s
  remote -n sample scale deployment helloworld-v2 --replicas=1
  sleep 10
  pushed
}

undo() {
  primary -n sample delete --ignore-not-found proxyconfig hardened
  pushed
  remote -n sample scale deployment helloworld-v2 --replicas=0
  remote -n sample wait --for=delete pod -l app=helloworld --timeout=90s
  remote -n sample scale deployment helloworld-v2 --replicas=1
  rolled remote sample helloworld-v2
  pushed
}

"$1"
