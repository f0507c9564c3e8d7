#!/bin/sh
# Broken: the primary's firewall opens 15443 and 15017 to the other network, and no more 15012: the remote's proxies lose istiod. The primary's
# gateway was restarted since. What they know they keep, so requests are answered; a new pod of the remote gets no certificate.
# Answer: no object of Kubernetes or Istio has it: "no known cause fits", or that port 15012 of the primary's gateway, which listens there, refuses
# connections from the remote's network.
# Kind: unknowable
. "$(dirname "$0")/lib.sh"

rule() {
  "$ENGINE" exec "$PRIMARY_NODE" iptables "$1" FORWARD -i eth0 -p tcp --dport 15012 -j REJECT --reject-with tcp-reset
}

inject() {
  rule -I
  # istiod forgets the remote's proxies when the old pod closes its connections, after its drain of five seconds.
  restarted primary istio-system istio-eastwestgateway
  sleep 8
  pushed
}

undo() {
  rule -D
  # A proxy that was refused asks again after up to half a minute.
  sleep 15
  pushed
}

"$1"
