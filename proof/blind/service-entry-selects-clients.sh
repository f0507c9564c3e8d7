#!/bin/sh
# Broken: a ServiceEntry from the time when helloworld ran on virtual machines has the Service's host, and selects by a label that was copied from
# another file: the pods of the clients, of both clusters. They count as endpoints of helloworld, and serve nothing at port 5000. A Sidecar that
# shows little to batch jobs is there, too, and no pod has its label.
# Answer: ServiceEntry primary/sample/helloworld-machines: spec.workloadSelector app=sleep adds the clients' pods to helloworld's endpoints. (Sidecar
# batch is innocent.)
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata:
  name: batch
  namespace: sample
spec:
  workloadSelector:
    labels:
      app: batch
  egress:
    - hosts: [istio-system/*]
YAML
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: helloworld-machines
  namespace: sample
spec:
  hosts: [helloworld.sample.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
    - number: 5000
      name: http
      protocol: HTTP
  workloadSelector:
    labels:
      app: sleep
YAML
  pushed
}

undo() {
  primary -n sample delete --ignore-not-found serviceentry helloworld-machines
  primary -n sample delete --ignore-not-found sidecar.networking.istio.io batch
  pushed
}

"$1"
