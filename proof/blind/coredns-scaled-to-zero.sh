#!/bin/sh
# Broken: no DNS server runs in the primary: its client resolves no name.
# Answer: Deployment primary/kube-system/coredns: spec.replicas=0. Nothing of Istio is wrong: "no known cause fits" is as good an answer.
# Kind: unknowable
. "$(dirname "$0")/lib.sh"

inject() {
  primary -n kube-system get deployment coredns -o jsonpath='{.spec.replicas}' > "$STATE/replicas"
  primary -n kube-system scale deployment coredns --replicas=0
  primary -n kube-system wait --for=delete pod -l k8s-app=kube-dns --timeout=60s
}

undo() {
  primary -n kube-system scale deployment coredns --replicas="$(cat "$STATE/replicas")"
  rolled primary kube-system coredns
  pushed
}

"$1"
