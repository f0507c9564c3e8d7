#!/bin/sh
# Broken: a ServiceEntry from a finished migration has the Service's host, and adds the address of a machine that is gone.
# Answer: ServiceEntry primary/sample/helloworld-legacy: spec.endpoints[0].address 10.10.200.200 is one of helloworld's endpoints, and nothing is there.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: helloworld-legacy
  namespace: sample
spec:
  hosts: [helloworld.sample.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
    - number: 5000
      name: http
      protocol: HTTP
  endpoints:
    - address: 10.10.200.200
      network: primary-network
      labels:
        app: helloworld
YAML
  pushed
}

undo() {
  primary -n sample delete serviceentry helloworld-legacy
  pushed
}

"$1"
