#!/bin/sh
# Unusual: another Gateway resource shares port 15443 of the gateways, for a partner's host name.
# Answer: sound: the host of its filter chain is another one, and what the first resource opens stays open.
# Kind: sound
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: partner
  namespace: istio-system
spec:
  selector:
    istio: eastwestgateway
  servers:
    - port:
        name: tls-partner
        number: 15443
        protocol: TLS
      tls:
        mode: PASSTHROUGH
      hosts: ["partner.example.com"]
YAML
  sleep 6
  pushed
}

undo() {
  primary -n istio-system delete gateway.networking.istio.io partner
  sleep 6
  pushed
}

"$1"
