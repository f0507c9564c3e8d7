#!/bin/sh
# Broken: the remote secret was renewed with the token of an ordinary account of the remote; istiod was restarted since. The remote's API server knows
# the token and allows it nothing (403), so istiod knows no pod of the remote and can check none of its proxies. Another Secret, of an earlier try,
# has a loopback server; it lacks the label by which istiod finds such Secrets.
# Answer: Secret primary/istio-system/istio-remote-secret-remote: the token of its kubeconfig is that of system:serviceaccount:sample:default, which
# may not list what istiod needs (forbidden). (Secret istio-remote-secret-remote-old is innocent.)
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary -n istio-system get secret istio-remote-secret-remote -o json > "$STATE/remote-secret.json"
  remote -n sample create token default --duration=24h > "$STATE/weak-token"
  primary apply -f - <<'YAML'
apiVersion: v1
kind: Secret
metadata:
  name: istio-remote-secret-remote-old
  namespace: istio-system
  annotations:
    networking.istio.io/cluster: remote
stringData:
  remote: |
    apiVersion: v1
    kind: Config
    clusters:
      - name: remote
        cluster:
          server: https://127.0.0.1:6443
    contexts:
      - name: remote
        context:
          cluster: remote
          user: remote
    current-context: remote
    users:
      - name: remote
        user: {}
YAML
  python3 - "$STATE/remote-secret.json" "$STATE/weak-token" <<'PYTHON' | primary replace -f -
import base64, json, re, sys
secret, token = json.load(open(sys.argv[1])), open(sys.argv[2]).read().strip()
kubeconfig = base64.b64decode(secret["data"]["remote"]).decode()
# The file is JSON or YAML.
changed, times = re.subn(r'("?\btoken"?: *"?)[A-Za-z0-9._-]+', lambda key: key[1] + token, kubeconfig)
if times != 1 or changed == kubeconfig:
    sys.exit(f"{times} tokens in the remote secret")
secret["data"]["remote"] = base64.b64encode(changed.encode()).decode()
json.dump(secret, sys.stdout)
PYTHON
  # istiod waits half a minute for a cluster that it cannot read, and is ready then.
  restarted primary istio-system istiod
  pushed
}

undo() {
  put_back primary "$STATE/remote-secret.json"
  primary -n istio-system delete secret istio-remote-secret-remote-old
  rm "$STATE/weak-token"
  restarted primary istio-system istiod
  # A proxy that was refused asks again after up to half a minute.
  sleep 15
  pushed
}

"$1"
