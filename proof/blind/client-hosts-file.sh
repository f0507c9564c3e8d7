#!/bin/sh
# Unusual: the hosts file of the primary's client gives helloworld's name the address of a machine that is gone.
# Answer: sound: the client's sidecar takes every connection to port 5000 and routes requests by their host, not by the address that they
# were sent to.
# Kind: sound
. "$(dirname "$0")/lib.sh"

inject() {
  primary -n sample get deployment sleep -o json > "$STATE/sleep.json"
  primary -n sample patch deployment sleep --type merge -p '{"spec": {"template": {"spec": {"hostAliases": [{"ip": "192.0.2.80", "hostnames":
    ["helloworld", "helloworld.sample", "helloworld.sample.svc", "helloworld.sample.svc.cluster.local"]}]}}}}'
  rolled primary sample sleep
  pushed
}

undo() {
  put_back primary "$STATE/sleep.json"
  rolled primary sample sleep
  pushed
}

"$1"
