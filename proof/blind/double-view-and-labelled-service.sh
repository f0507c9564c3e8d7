#!/bin/sh
# Broken, twice: the remote's client was given an environment variable of the gateways, by which istiod shows it the endpoints of one network alone,
# so it is answered by v2 and never by v1; and a tool put the network's label on two new Services of the remote's system namespace: istiod takes
# a console's external address for a second gateway, to which half of the primary's traffic for v2 goes.
# Answer: Deployment remote/sample/sleep: annotation proxy.istio.io/config has proxyMetadata ISTIO_META_REQUESTED_NETWORK_VIEW=remote-network; and,
# beside it, Service remote/istio-system/mesh-console: label topology.istio.io/network=remote-network, and externalIPs 192.0.2.60. (Service
# mesh-probes has that label and no external address: it is innocent.) In the first try mesh-console had no port 15443: istiod leaves it out then.
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  remote -n sample get deployment sleep -o json > "$STATE/sleep.json"
  remote -n sample patch deployment sleep --type merge -p '{"spec": {"template": {"metadata": {"annotations": {"proxy.istio.io/config":
    "drainDuration: 2s\nproxyMetadata:\n  ISTIO_META_REQUESTED_NETWORK_VIEW: remote-network\n"}}}}}'
  rolled remote sample sleep
  remote apply -f - <<'YAML'
apiVersion: v1
kind: Service
metadata:
  name: mesh-console
  namespace: istio-system
  labels:
    app: mesh-console
    topology.istio.io/network: remote-network
spec:
  selector:
    app: mesh-console
  externalIPs: [192.0.2.60]
  ports:
    - name: https
      port: 443
    - name: tls
      port: 15443
YAML
  remote apply -f - <<'YAML'
apiVersion: v1
kind: Service
metadata:
  name: mesh-probes
  namespace: istio-system
  labels:
    app: mesh-probes
    topology.istio.io/network: remote-network
spec:
  selector:
    app: mesh-probes
  ports:
    - name: http
      port: 8080
YAML
  pushed
}

undo() {
  remote -n istio-system delete --ignore-not-found service mesh-console mesh-probes
  put_back remote "$STATE/sleep.json"
  rolled remote sample sleep
  pushed
}

"$1"
