#!/bin/sh
# Broken: an upgrade wrote the network of the guide's example into the values of the primary's injector; istiod and the primary's client were
# restarted since. The client's sidecar says that it is in network1, so v1, which is beside it, is far for it: it reaches v1 through the primary's
# own gateway. Both versions answer.
# Answer: ConfigMap primary/istio-system/istio-sidecar-injector: global.network of its values is network1, and the network is primary-network; the
# client's pod in the primary has ISTIO_META_NETWORK=network1.
# Kind: fault
. "$(dirname "$0")/lib.sh"

renewed() {
  # istiod reads the values from a mounted file, which the kubelet renews only after a minute.
  restarted primary istio-system istiod
  restarted primary sample sleep
  pushed
}

inject() {
  primary -n istio-system get configmap istio-sidecar-injector -o json > "$STATE/injector.json"
  python3 - "$STATE/injector.json" <<'PYTHON' | primary -n istio-system patch configmap istio-sidecar-injector --type merge --patch-file /dev/stdin
import json, sys
values = json.loads(json.load(open(sys.argv[1]))["data"]["values"])
assert values["global"]["network"] == "primary-network"
values["global"]["network"] = "network1"
json.dump({"data": {"values": json.dumps(values, indent=2)}}, sys.stdout)
PYTHON
  renewed
}

undo() {
  put_back primary "$STATE/injector.json"
  renewed
}

"$1"
