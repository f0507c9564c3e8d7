#!/bin/sh
# Broken: the routes for helloworld's path are delegated to a VirtualService that is not there any more. istiod leaves that route out, and the next
# one, for paths that nobody serves, answers everything with 404, in the client's own sidecar; this binds the clients of both clusters.
# Answer: VirtualService primary/sample/helloworld-root: http[0].delegate names helloworld-team/helloworld-routes, which does not exist;
# http[1].directResponse answers in its place.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: helloworld-root
  namespace: sample
spec:
  hosts: [helloworld]
  http:
    - name: team
      match:
        - uri:
            prefix: /hello
      delegate:
        name: helloworld-routes
        namespace: helloworld-team
    - name: unknown-path
      directResponse:
        status: 404
YAML
  pushed
}

undo() {
  primary -n sample delete virtualservice helloworld-root
  pushed
}

"$1"
