#!/bin/sh
# Broken: the remote's Service of helloworld was made a DNS alias of a namespace to which the team was to move, and which is not there; v2 was created
# again since. The remote's client does not resolve the name, and v2's new pod is no endpoint of helloworld for anybody.
# Answer: Service remote/sample/helloworld: spec.type=ExternalName (helloworld.greeters.svc.cluster.local, which does not exist): it has no cluster
# address, and Kubernetes no longer keeps its EndpointSlices up to date: they have at most the address of v2's old pod.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote -n sample get service helloworld -o json > "$STATE/service.json"
  remote -n sample patch service helloworld --type merge -p '{"spec": {"type": "ExternalName",
    "externalName": "helloworld.greeters.svc.cluster.local", "clusterIP": null, "clusterIPs": null}}'
  restarted remote sample helloworld-v2
  # A name that was resolved is kept for up to half a minute.
  sleep 30
  pushed
}

undo() {
  put_back remote "$STATE/service.json"
  sleep 30
  pushed
}

"$1"
