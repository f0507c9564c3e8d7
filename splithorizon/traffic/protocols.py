"""What passes between the networks besides small requests: bodies, other protocols, long waits, silent connections.

One command in the client's container has a number of exchanges, each once, and prints a line for each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from splithorizon.base.errors import EnvironmentBroke

BODY_BYTES = 1 << 20
WAIT_SECONDS = 16

_SERVICE = "echo"
_LINE = re.compile(r"exchange (?P<version>\S*) (?P<sound>yes|no) (?P<said>.*)")

# Each gets the service's address, how many exchanges, and the seconds that each may take.
_PRELUDE = r"""
set -eu
host=$1 count=$2 timeout=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
get() { curl -q -sS --noproxy '*' --max-time "$timeout" "$@" 2>&1 || true; }
tell() {
  version=$(sed -n 's/.*[Vv]ersion: *\(v[0-9]*\).*/\1/p' answer | head -n 1)
  echo "exchange $version $1 $(tr -d '\r' <answer | tr '\n' ' ' | head -c 200)"
}
sound() { if grep -q "$1" answer; then tell yes; else tell no; fi; }
"""
_EACH = "n=0; while [ $n -lt $count ]; do n=$((n + 1)); rm -f answer got; touch answer; {}; done"
# All at once, or those that are slow would take minutes.
_ALL = 'n=0; while [ $n -lt $count ]; do n=$((n + 1)); mkdir "$n"; ( cd "$n"; {} ) >"$n/line" & done; wait; cat */line'


class Protocol(StrEnum):
    """What is exchanged; the value is how a person calls it."""

    LARGE_BODY = "1 MiB there and back"
    HTTP2 = "HTTP/2"
    TCP = "opaque TCP"
    GRPC = "gRPC"
    LONG_WAIT = "an answer after 16 s"
    SILENCE = "a connection that is silent for 16 s"


SLOW = frozenset({Protocol.LONG_WAIT, Protocol.SILENCE})
"""What takes its time whatever else goes on."""


_SCRIPTS = {
    Protocol.LARGE_BODY: f"head -c {BODY_BYTES} /dev/urandom >sent; "
    + _EACH.format(
        'get -D answer -o got --data-binary @sent "http://$host:5002/echo" >>answer; '
        "if cmp -s sent got; then tell yes; else tell no; fi"
    ),
    Protocol.HTTP2: _EACH.format(
        "get --http2-prior-knowledge \"http://$host:5012/describe\" >answer; sound 'protocol: HTTP/2.0, opaque: false'"
    ),
    Protocol.TCP: _EACH.format("get \"http://$host:5022/describe\" >answer; sound 'opaque: true'"),
    Protocol.GRPC: _EACH.format(
        "printf '\\0\\0\\0\\0\\0' | get --http2-prior-knowledge -H 'content-type: application/grpc' -H 'te: trailers' "
        '-D answer -o got --data-binary @- "http://$host:5003/grpc.health.v1.Health/Check" >>answer; '
        "sound '^grpc-status: 0'"
    ),
    Protocol.LONG_WAIT: _ALL.format(
        f"get \"http://$host:5002/slow?seconds={WAIT_SECONDS}\" >answer; sound 'after: {WAIT_SECONDS}'"
    ),
    # Asked, left alone and asked again, by one connection: curl would open it anew, and no sidecar of this port would.
    Protocol.SILENCE: _ALL.format(
        "get -w 'connections opened: %{num_connects}\\n' "
        f'"http://$host:5022/describe" "http://$host:5022/slow?seconds={WAIT_SECONDS}" "http://$host:5022/describe" '
        ">answer; if [ \"$(sed -n 's/^connections opened: //p' answer | tr -d '\\n')\" = 100 ] "
        f"&& grep -q 'after: {WAIT_SECONDS}' answer && [ \"$(grep -c 'opaque: true' answer)\" = 2 ] "
        "&& [ \"$(sed -n 's/.*instance: *\\([^ ,]*\\).*/\\1/p' answer | sort -u | wc -l)\" = 1 ]; "
        "then tell yes; else tell no; fi"
    ),
}


@dataclass(frozen=True)
class ProtocolCall:
    """One exchange: the version that answered, empty where none did, whether it was as it should be, and what came."""

    version: str
    sound: bool
    said: str


def command(protocol: Protocol, namespace: str, *, times: int, timeout: float) -> list[str]:
    """The command that has so many exchanges; none takes longer than ``timeout`` seconds."""
    return ["sh", "-c", _PRELUDE + _SCRIPTS[protocol], "sh", f"{_SERVICE}.{namespace}", str(times), f"{timeout:g}"]


def parse(printed: str, times: int) -> tuple[ProtocolCall, ...]:
    """Read what the command printed; raises EnvironmentBroke where that is not one line for each exchange."""
    found = [match for line in printed.splitlines() if (match := _LINE.fullmatch(line))]
    if len(found) != times:
        raise EnvironmentBroke(f"{len(found)} of {times} exchanges were told of", seen=printed[-200:])
    return tuple(ProtocolCall(one["version"], one["sound"] == "yes", one["said"].strip()) for one in found)
