#!/bin/sh
# Broken: the remote secret was made from an administrator's kubeconfig, which gets its token by a cloud's command. istiod refuses kubeconfigs that
# run commands, and was restarted since: it does not know the remote, neither its pods nor its proxies.
# Answer: Secret primary/istio-system/istio-remote-secret-remote: users[0].user of its kubeconfig has exec (command cloud-token) in place of a token;
# istiod does not allow exec (PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS is not set).
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary -n istio-system get secret istio-remote-secret-remote -o json > "$STATE/remote-secret.json"
  python3 - "$STATE/remote-secret.json" <<'PYTHON' | primary replace -f -
import base64, json, re, sys
secret = json.load(open(sys.argv[1]))
plugin = '"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "cloud-token", "args": ["get", "remote"], "interactiveMode": "Never"}'
kubeconfig = base64.b64decode(secret["data"]["remote"]).decode()
changed, times = re.subn(r'"?\btoken"?: *"?[A-Za-z0-9._-]+"?', lambda _: plugin, kubeconfig)
if times != 1:
    sys.exit(f"{times} tokens in the remote secret")
secret["data"]["remote"] = base64.b64encode(changed.encode()).decode()
json.dump(secret, sys.stdout)
PYTHON
  restarted primary istio-system istiod
  pushed
}

undo() {
  put_back primary "$STATE/remote-secret.json"
  restarted primary istio-system istiod
  # A proxy that was refused asks again after up to half a minute.
  sleep 15
  pushed
}

"$1"
