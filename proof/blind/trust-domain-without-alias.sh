#!/bin/sh
# Broken: cluster2 got a trust domain of its own, which still accepts the old one as an alias; its istiod and all its proxies were restarted.
# cluster1 was not told of the new trust domain: its client refuses v2's certificate, and v1's sidecar refuses that of cluster2's client. Within
# each cluster requests are answered.
# Answer: ConfigMap cluster1/istio-system/istio: trustDomainAliases lacks eu.example.com, which is trustDomain in ConfigMap
# cluster2/istio-system/istio.
# Kind: fault
# Shape: multi-primary
. "$(dirname "$0")/lib.sh"

renewed() {
  restarted cluster2 istio-system istiod
  restarted cluster2 istio-system istio-eastwestgateway
  restarted cluster2 sample helloworld-v2
  restarted cluster2 sample sleep
  pushed
}

inject() {
  cluster2 -n istio-system get configmap istio -o json > "$(kept_mesh_config cluster2)"
  python3 - "$(kept_mesh_config cluster2)" <<'PYTHON' | cluster2 -n istio-system patch configmap istio --type merge --patch-file /dev/stdin
import json, re, sys
text = json.load(open(sys.argv[1]))["data"]["mesh"]
text = re.sub(r"(?m)^trustDomain:.*\n?", "", text)
text = text.rstrip() + "\ntrustDomain: eu.example.com\ntrustDomainAliases: [cluster.local]\n"
json.dump({"data": {"mesh": text}}, sys.stdout)
PYTHON
  renewed
}

undo() {
  mesh_config_restored cluster2 mesh
  renewed
}

"$1"
