#!/bin/sh
# Broken: cluster2's injection webhooks were copied from a setting for cluster1, which is on the same network: their path names cluster1, and v2 was
# created again since. Its sidecar says that it is in cluster1, whose API server does not know its token, so istiod gives it neither certificate nor
# configuration: the pod is not ready, and no client reaches v2.
# Answer: MutatingWebhookConfigurations cluster2/istio-sidecar-injector, istio-revision-tag-default: the path of their webhooks says
# cluster/cluster1, so v2's pod has ISTIO_META_CLUSTER_ID=cluster1.
# Kind: fault
# Shape: three-clusters
. "$(dirname "$0")/lib.sh"

path_of() {
  # Istio's installation makes two with the same webhooks; one of them is switched off.
  for name in istio-sidecar-injector istio-revision-tag-default; do
    cluster2 get mutatingwebhookconfiguration "$name" -o json | sed "s|/inject/cluster/$1/|/inject/cluster/$2/|g" | cluster2 replace -f -
  done
  cluster2 -n sample delete pod -l app=helloworld
}

inject() {
  path_of cluster2 cluster1
  pushed
}

undo() {
  path_of cluster1 cluster2
  rolled cluster2 sample helloworld-v2
  pushed
}

"$1"
