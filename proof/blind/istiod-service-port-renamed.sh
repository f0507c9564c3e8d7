#!/bin/sh
# Broken: in the remote the port of istiod's Service was given another name, for a rule of port names. Its EndpointSlice was written by the
# installation and still has the old one, so the Service leads nowhere at 15012. What is connected stays connected; v2 was created again since, and
# its sidecar gets no certificate and no configuration: no client reaches v2.
# Answer: Service remote/istio-system/istiod: port 15012 is named grpc-xds, and the EndpointSlice istiod names it tcp-istiod: the Service has no
# endpoint at that port.
# Kind: fault
. "$(dirname "$0")/lib.sh"

name() {
  remote -n istio-system patch service istiod --type strategic -p '{"spec": {"ports": [{"port": 15012, "name": "'"$1"'"}]}}'
  # kube-proxy writes its rules within a second.
  sleep 2
}

inject() {
  name grpc-xds
  remote -n sample scale deployment helloworld-v2 --replicas=0
  remote -n sample wait --for=delete pod -l app=helloworld --timeout=90s
  remote -n sample scale deployment helloworld-v2 --replicas=1
  sleep 6
  pushed
}

undo() {
  name tcp-istiod
  rolled remote sample helloworld-v2
  # A proxy that was refused asks again after up to half a minute.
  sleep 10
  pushed
}

"$1"
