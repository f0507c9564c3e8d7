#!/bin/sh
# Broken: istiod was upgraded without the name of its cluster, and calls it Kubernetes, while the proxies there still say primary: it admits none of
# them. v1 was created again since, and gets neither certificate nor configuration; the gateway still leads the remote's proxies to the old istiod.
# Answer: Deployment primary/istio-system/istiod: env CLUSTER_ID=Kubernetes, and the primary's proxies have ISTIO_META_CLUSTER_ID=primary.
# Kind: fault
. "$(dirname "$0")/lib.sh"

cluster_id() {
  primary -n istio-system set env deployment/istiod -c discovery "CLUSTER_ID=$1"
  rolled primary istio-system istiod
  primary -n sample delete pod -l app=helloworld
}

inject() {
  cluster_id Kubernetes
  pushed
}

undo() {
  cluster_id primary
  rolled primary sample helloworld-v1
  pushed
}

"$1"
