#!/bin/sh
# Broken: the remote's Service of helloworld says that port 5000 speaks HTTP/2 without TLS, as another team's gRPC service does. v2's sidecar speaks
# HTTP/2 to its application, which speaks HTTP/1.1 alone there: v2 fails every request (502 or 503), near and far. v1 answers both clients.
# Answer: Service remote/sample/helloworld: appProtocol=kubernetes.io/h2c of port 5000 (it goes before the port's name); v2's application does not
# speak HTTP/2.
# Kind: fault
. "$(dirname "$0")/lib.sh"

protocol() {
  remote -n sample patch service helloworld --type strategic -p '{"spec": {"ports": [{"port": 5000, "appProtocol": '"$1"'}]}}'
  pushed
}

inject() { protocol '"kubernetes.io/h2c"'; }

undo() { protocol null; }

"$1"
