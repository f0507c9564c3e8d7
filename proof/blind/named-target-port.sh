#!/bin/sh
# Broken: the remote's Service of helloworld sends to a port by a name that no container of its pods has.
# Answer: Service remote/sample/helloworld: spec.ports[0].targetPort is "web", and its pods name no such port, so it has no endpoints.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote -n sample patch service helloworld --type json \
    -p '[{"op": "replace", "path": "/spec/ports/0/targetPort", "value": "web"}]'
  pushed
}

undo() {
  remote -n sample patch service helloworld --type json \
    -p '[{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 5000}]'
  pushed
}

"$1"
