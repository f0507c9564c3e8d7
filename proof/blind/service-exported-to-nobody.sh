#!/bin/sh
# Broken: the primary's Service of helloworld was hidden while it was rebuilt, and stayed hidden.
# Answer: Service primary/sample/helloworld: annotation networking.istio.io/exportTo=~ hides it from every proxy.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary -n sample annotate service helloworld networking.istio.io/exportTo=~
  pushed
}

undo() {
  primary -n sample annotate service helloworld networking.istio.io/exportTo-
  pushed
}

"$1"
