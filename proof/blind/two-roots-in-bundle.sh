#!/bin/sh
# Unusual: the first step of a rotation of the mesh's root is done: the bundle has the next root beside the present one, which signs everything as
# before. istiod and the primary's client were restarted since, and trust both; the other proxies still trust the one.
# Answer: sound: every certificate is signed by the root that all proxies trust.
# Kind: sound
. "$(dirname "$0")/lib.sh"

renewed() {
  restarted primary istio-system istiod
  # istiod writes its root into every namespace and every webhook.
  sleep 10
  restarted primary sample sleep
  pushed
}

inject() {
  primary -n istio-system get secret cacerts -o json > "$STATE/cacerts.json"
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/O=Blind/CN=Next root" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$STATE/next-key.pem" -out "$STATE/next-root.pem" 2> "$STATE/openssl.log"
  python3 - "$STATE/cacerts.json" "$STATE/next-root.pem" <<'PYTHON' | primary -n istio-system patch secret cacerts --type merge --patch-file /dev/stdin
import base64, json, sys
root = base64.b64decode(json.load(open(sys.argv[1]))["data"]["root-cert.pem"]).decode()
both = root.rstrip() + "\n" + open(sys.argv[2]).read()
json.dump({"data": {"root-cert.pem": base64.b64encode(both.encode()).decode()}}, sys.stdout)
PYTHON
  renewed
}

undo() {
  put_back primary "$STATE/cacerts.json"
  renewed
}

"$1"
