#!/bin/sh
# Broken: the mesh's CA was replaced by one with another root, without a time with both; the primary's pods were restarted, the remote's not.
# Answer: Secret primary/istio-system/cacerts: its root signs the primary's workloads, while the remote's still have certificates of the old root.
# Kind: fault
. "$(dirname "$0")/lib.sh"

renewed() {
  restarted primary istio-system istiod
  primary -n sample rollout restart deployment/sleep deployment/helloworld-v1
  rolled primary sample sleep
  rolled primary sample helloworld-v1
  pushed
}

inject() {
  primary -n istio-system get secret cacerts -o json > "$STATE/cacerts.json"
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/O=Blind/CN=Another root" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$STATE/ca-key.pem" -out "$STATE/ca-cert.pem" 2> "$STATE/openssl.log"
  primary -n istio-system create secret generic cacerts --dry-run=client -o json \
    --from-file=ca-key.pem="$STATE/ca-key.pem" --from-file=ca-cert.pem="$STATE/ca-cert.pem" \
    --from-file=cert-chain.pem="$STATE/ca-cert.pem" --from-file=root-cert.pem="$STATE/ca-cert.pem" |
    primary replace -f -
  renewed
}

undo() {
  put_back primary "$STATE/cacerts.json"
  renewed
  restarted remote istio-system istio-eastwestgateway
  restarted remote sample helloworld-v2
  restarted remote sample sleep
  pushed
}

"$1"
