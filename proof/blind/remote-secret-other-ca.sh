#!/bin/sh
# Broken: the remote secret was put together by hand, with the API server of the remote and the CA of the primary; istiod was restarted since.
# It trusts no answer of the remote's API server, so it knows no pod of the remote, and admits none of its proxies.
# Answer: Secret primary/istio-system/istio-remote-secret-remote: certificate-authority-data of its kubeconfig is not the CA of the remote's API
# server (x509: certificate signed by unknown authority).
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary -n istio-system get secret istio-remote-secret-remote -o json > "$STATE/remote-secret.json"
  primary -n kube-system get configmap kube-root-ca.crt -o json > "$STATE/primary-ca.json"
  python3 - "$STATE/remote-secret.json" "$STATE/primary-ca.json" <<'PYTHON' | primary replace -f -
import base64, json, re, sys
secret, root = (json.load(open(name)) for name in sys.argv[1:])
other = base64.b64encode(root["data"]["ca.crt"].encode()).decode()
kubeconfig = base64.b64decode(secret["data"]["remote"]).decode()
# The file is JSON or YAML.
changed, times = re.subn(r'("?certificate-authority-data"?: *"?)[A-Za-z0-9+/=]+', lambda key: key[1] + other, kubeconfig)
if times != 1 or changed == kubeconfig:
    sys.exit(f"{times} CAs in the remote secret, and the primary's is not another one")
secret["data"]["remote"] = base64.b64encode(changed.encode()).decode()
json.dump(secret, sys.stdout)
PYTHON
  # istiod waits half a minute for a cluster that it cannot read, and is ready then.
  restarted primary istio-system istiod
  pushed
}

undo() {
  put_back primary "$STATE/remote-secret.json"
  restarted primary istio-system istiod
  pushed
}

"$1"
