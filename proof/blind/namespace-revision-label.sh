#!/bin/sh
# Broken: during an upgrade the remote's namespace got the label of a revision that nothing installed; v2 was restarted since.
# Answer: Namespace remote/sample: label istio.io/rev=stable in place of istio-injection=enabled: no webhook injects v2's pod, which has no sidecar.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote label namespace sample istio-injection- istio.io/rev=stable --overwrite
  restarted remote sample helloworld-v2
  pushed
}

undo() {
  remote label namespace sample istio.io/rev- istio-injection=enabled --overwrite
  restarted remote sample helloworld-v2
  pushed
}

"$1"
