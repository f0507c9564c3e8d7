#!/bin/sh
# Broken: cluster2's Service of helloworld was moved to port 80, as services have there, under the same port name; its clients were not changed.
# cluster2's client asks port 5000, which its Service has no more, and is answered by nobody. cluster1's client asks port 5000 of its own Service,
# and its SNI names that port, which cluster2's gateway does not know: v2 is not reached from there either.
# Answer: Service cluster2/sample/helloworld: spec.ports[0].port=80, while Service cluster1/sample/helloworld has 5000.
# Kind: fault
# Shape: multi-primary
. "$(dirname "$0")/lib.sh"

port() {
  cluster2 -n sample patch service helloworld --type json -p "[{\"op\": \"replace\", \"path\": \"/spec/ports/0/port\", \"value\": $1}]"
  # Connections of a replaced listener of the gateway stay open for its drainDuration, five seconds.
  sleep 6
  pushed
}

inject() { port 80; }

undo() { port 5000; }

"$1"
