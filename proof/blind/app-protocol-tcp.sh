#!/bin/sh
# Broken: the primary's Service of helloworld says that port 5000 speaks plain TCP: its clients' sidecars pass bytes on and balance connections.
# Answer: Service primary/sample/helloworld: appProtocol=tcp of port 5000 (it goes before the port's name).
# Kind: fault
. "$(dirname "$0")/lib.sh"

inject() {
  primary -n sample patch service helloworld --type strategic -p '{"spec": {"ports": [{"port": 5000, "appProtocol": "tcp"}]}}'
  pushed
}

undo() {
  primary -n sample patch service helloworld --type json -p '[{"op": "remove", "path": "/spec/ports/0/appProtocol"}]'
  pushed
}

"$1"
