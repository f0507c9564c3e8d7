#!/bin/sh
# Broken, twice: the primary's client was created again with interception switched off, as for a machine without iptables, so what it sends goes past
# its sidecar in plain text and v1 refuses it; and v2's pods ask for a bootstrap of the team's own, in a ConfigMap that was never created in the
# remote, and v2's old pod is gone: the new one does not start, and nobody reaches v2. The remote's client is answered by v1.
# Answer: Deployment primary/sample/sleep: annotation sidecar.istio.io/interceptionMode=NONE; and, beside it, Deployment remote/sample/helloworld-v2:
# annotation sidecar.istio.io/bootstrapOverride=team-bootstrap, a ConfigMap that does not exist (FailedMount).
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary -n sample get deployment sleep -o json > "$STATE/sleep.json"
  remote -n sample get deployment helloworld-v2 -o json > "$STATE/v2.json"
  primary -n sample patch deployment sleep --type merge \
    -p '{"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/interceptionMode": "NONE"}}}}}'
  rolled primary sample sleep
  replaced remote sample helloworld-v2 app=helloworld \
    '{"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/bootstrapOverride": "team-bootstrap"}}}}}'
  pushed
}

undo() {
  put_back primary "$STATE/sleep.json"
  put_back remote "$STATE/v2.json"
  rolled primary sample sleep
  rolled remote sample helloworld-v2
  pushed
}

"$1"
