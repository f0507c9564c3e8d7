#!/bin/sh
# Unusual: a Telemetry resource switches the access log of the namespace's sidecars off, for its cost.
# Answer: sound: every request is answered over the right path. What needs the log may be left out, with the reason; nothing may be refuted.
# Kind: sound
. "$(dirname "$0")/lib.sh"

inject() {
  primary apply -f - <<'YAML'
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata:
  name: quiet
  namespace: sample
spec:
  accessLogging:
    - disabled: true
YAML
  pushed
}

undo() {
  primary -n sample delete telemetry quiet
  pushed
}

"$1"
