#!/bin/sh
# Broken: on the way to the remote's gateway every packet above 600 bytes is lost, as in a tunnel with a smaller MTU and no ICMP:
# connections open, and the TLS handshake hangs. The primary's client was restarted since, so that it needs new connections.
# Answer: no object of Kubernetes or Istio has it: "no known cause fits", or that packets on the way to the far gateway are lost.
# Kind: unknowable
. "$(dirname "$0")/lib.sh"

rule() {
  remote_node iptables -t mangle "$1" PREROUTING -p tcp --dport 15443 -m length --length 600:65535 -j DROP
}

inject() {
  rule -I
  restarted primary sample sleep
  pushed
}

undo() {
  rule -D
  restarted primary sample sleep
  pushed
}

"$1"
