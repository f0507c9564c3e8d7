#!/bin/sh
# Broken: the primary's client sends past its sidecar: the range of all service addresses is excluded from interception.
# Answer: Deployment primary/sample/sleep: annotation traffic.sidecar.istio.io/excludeOutboundIPRanges=10.110.0.0/16 covers helloworld's address.
# Kind: fault
. "$(dirname "$0")/lib.sh"

annotate() {
  primary -n sample patch deployment sleep --type merge \
    -p '{"spec": {"template": {"metadata": {"annotations": {"traffic.sidecar.istio.io/excludeOutboundIPRanges": '"$1"'}}}}}'
  rolled primary sample sleep
  pushed
}

inject() { annotate '"10.110.0.0/16"'; }

undo() { annotate null; }

"$1"
