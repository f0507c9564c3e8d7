#!/bin/sh
# Broken: the mesh's CA was put back from an old backup, and has expired; istiod was created again since and does not start with it. What runs
# goes on with what it has; no new pod is injected in either cluster, and no certificate is signed.
# Answer: Secret primary/istio-system/cacerts: ca-cert.pem expired on 2025-01-01, so istiod ends at its start (CrashLoopBackOff: cannot verify the
# cert, certificate has expired).
# Kind: fault
. "$(dirname "$0")/lib.sh"

stopped() {
  primary -n istio-system scale deployment istiod --replicas=0
  primary -n istio-system wait --for=delete pod -l app=istiod --timeout=90s
}

inject() {
  primary -n istio-system get secret cacerts -o json > "$STATE/cacerts.json"
  rm -rf "$STATE/old-ca"
  mkdir "$STATE/old-ca"
  : > "$STATE/old-ca/index.txt"
  echo 01 > "$STATE/old-ca/serial"
  cat > "$STATE/old-ca/ca.cnf" <<CONFIG
[ca]
default_ca = old
[old]
dir = $STATE/old-ca
new_certs_dir = $STATE/old-ca
database = $STATE/old-ca/index.txt
serial = $STATE/old-ca/serial
default_md = sha256
policy = any
x509_extensions = authority
[any]
organizationName = optional
commonName = supplied
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
CONFIG
  openssl req -new -newkey rsa:2048 -nodes -subj "/O=Blind/CN=Old CA" \
    -keyout "$STATE/old-ca/ca-key.pem" -out "$STATE/old-ca/ca.csr" 2> "$STATE/openssl.log"
  openssl ca -config "$STATE/old-ca/ca.cnf" -batch -notext -selfsign -keyfile "$STATE/old-ca/ca-key.pem" -in "$STATE/old-ca/ca.csr" \
    -startdate 20240101000000Z -enddate 20250101000000Z -out "$STATE/old-ca/ca-cert.pem" 2>> "$STATE/openssl.log"
  stopped
  primary -n istio-system create secret generic cacerts --dry-run=client -o json \
    --from-file=ca-key.pem="$STATE/old-ca/ca-key.pem" --from-file=ca-cert.pem="$STATE/old-ca/ca-cert.pem" \
    --from-file=cert-chain.pem="$STATE/old-ca/ca-cert.pem" --from-file=root-cert.pem="$STATE/old-ca/ca-cert.pem" |
    primary replace -f -
  primary -n istio-system scale deployment istiod --replicas=1
  # Until it has ended and was started again a few times.
  sleep 15
  pushed
}

undo() {
  stopped
  put_back primary "$STATE/cacerts.json"
  primary -n istio-system scale deployment istiod --replicas=1
  rolled primary istio-system istiod
  # A proxy that was refused asks again after up to half a minute.
  sleep 20
  pushed
}

"$1"
