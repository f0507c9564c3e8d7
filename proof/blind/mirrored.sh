#!/bin/sh
# Unusual: half of the requests are copied to another Service, whose answers nobody sees.
# Answer: sound: every request is answered as before; the copies come in addition.
# Kind: sound
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: helloworld-mirror
  namespace: sample
spec:
  hosts: [helloworld]
  http:
    - route:
        - destination:
            host: helloworld
      mirror:
        host: helloworld-v1
      mirrorPercentage:
        value: 50
YAML
  pushed
}

undo() {
  primary -n sample delete virtualservice helloworld-mirror
  pushed
}

"$1"
