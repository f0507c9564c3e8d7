#!/bin/sh
# Broken: cluster2's istiod was given the flag of the Kubernetes Multi-Cluster Services API for a trial: services are discovered across clusters only
# where a ServiceExport says so, and there is none, nor even the API. cluster2's client is answered by v2 alone. cluster1's istiod lacks the flag, and
# its client reaches both versions.
# Answer: Deployment cluster2/istio-system/istiod: env ENABLE_MCS_SERVICE_DISCOVERY=true, and no ServiceExport for helloworld in cluster1.
# Kind: fault
# Shape: multi-primary
. "$(dirname "$0")/lib.sh"

flag() {
  cluster2 -n istio-system set env deployment/istiod -c discovery "$1"
  rolled cluster2 istio-system istiod
  # The proxies ask the new istiod once the old one has closed their connections.
  sleep 5
  pushed
}

inject() { flag ENABLE_MCS_SERVICE_DISCOVERY=true; }

undo() { flag ENABLE_MCS_SERVICE_DISCOVERY-; }

"$1"
