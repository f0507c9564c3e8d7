#!/bin/sh
# Broken, twice: the remote's client runs as the user of the sidecar, whose traffic is not redirected, so it speaks plain text and is refused; and
# the remote gateway's Service has an external address at which nothing is any more, to which half of the primary's traffic for v2 goes.
# Answer: Deployment remote/sample/sleep: securityContext.runAsUser=1337, the user of istio-proxy; and, beside it, Service
# remote/istio-system/istio-eastwestgateway: spec.externalIPs=192.0.2.50, which istiod gives to the other network as a gateway.
# Kind: fault
. "$(dirname "$0")/lib.sh"

user() {
  remote -n sample patch deployment sleep --type merge -p '{"spec": {"template": {"spec": {"securityContext": {"runAsUser": '"$1"'}}}}}'
  rolled remote sample sleep
}

external() {
  remote -n istio-system patch service istio-eastwestgateway --type merge -p '{"spec": {"externalIPs": '"$1"'}}'
}

inject() {
  user 1337
  external '["192.0.2.50"]'
  pushed
}

undo() {
  external null
  user 100
  pushed
}

"$1"
