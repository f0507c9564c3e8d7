#!/bin/sh
# Broken: a ServiceEntry for an old TCP service was given the cluster address that helloworld has now, with the same port: the sidecar has a listener
# for just that address, and sends to a machine that is gone. Only the primary's client uses this address, and it reaches neither version. A policy
# of action AUDIT is there, too, and changes nothing.
# Answer: ServiceEntry primary/sample/legacy-greeter: spec.addresses has the clusterIP of Service primary/sample/helloworld, at TCP port 5000: the
# sidecar's connections go to 10.10.200.201. (AuthorizationPolicy helloworld-audit is innocent.)
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  address=$(primary -n sample get service helloworld -o jsonpath='{.spec.clusterIP}')
  primary apply -f - <<YAML
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: legacy-greeter
  namespace: sample
spec:
  hosts: [greeter.legacy.example.com]
  addresses: ["$address"]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
    - number: 5000
      name: tcp
      protocol: TCP
  endpoints:
    - address: 10.10.200.201
      network: primary-network
YAML
  primary apply -f - <<'YAML'
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: helloworld-audit
  namespace: sample
spec:
  selector:
    matchLabels:
      app: helloworld
  action: AUDIT
  rules:
    - to:
        - operation:
            paths: ["/hello*"]
YAML
  # Connections of a replaced listener stay open for the sidecars' drainDuration, two seconds.
  sleep 3
  pushed
}

undo() {
  primary -n sample delete serviceentry legacy-greeter
  primary -n sample delete authorizationpolicy helloworld-audit
  sleep 3
  pushed
}

"$1"
