#!/bin/sh
# Unusual: the remote's Service of helloworld says that port 5000 speaks HTTP/2 without TLS, as another team's gRPC service does. v2's sidecar speaks
# HTTP/2 to its application. It was written as a fault, for an application that speaks HTTP/1.1 alone; helloworld of this repository speaks both.
# Answer: sound: v2's application speaks HTTP/2 without TLS too.
# Kind: sound
. "$(dirname "$0")/lib.sh"

protocol() {
  remote -n sample patch service helloworld --type strategic -p '{"spec": {"ports": [{"port": 5000, "appProtocol": '"$1"'}]}}'
  pushed
}

inject() { protocol '"kubernetes.io/h2c"'; }

undo() { protocol null; }

"$1"
