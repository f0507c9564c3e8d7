"""Calls between the networks with large bodies, by other protocols, with slow answers and on idle connections.

One command in the client's container makes a number of calls, without retries, and prints one line per call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from splithorizon.base.errors import EnvironmentBroke

BODY_BYTES = 1 << 20
WAIT_SECONDS = 16

_SERVICE = "echo"
_LINE = re.compile(r"call (?P<version>\S*) (?P<ok>yes|no) (?P<output>.*)")

# The arguments of each script: the address of the Service, the number of calls, and the seconds that each may take.
_PRELUDE = r"""
set -eu
host=$1 count=$2 timeout=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
get() { curl -q -sS --noproxy '*' --max-time "$timeout" "$@" 2>&1 || true; }
report() {
  version=$(sed -n 's/.*[Vv]ersion: *\(v[0-9]*\).*/\1/p' answer | head -n 1)
  echo "call $version $1 $(tr -d '\r' <answer | tr '\n' ' ' | head -c 200)"
}
expect() { if grep -q "$1" answer; then report yes; else report no; fi; }
"""
_EACH = "n=0; while [ $n -lt $count ]; do n=$((n + 1)); rm -f answer got; touch answer; {}; done"
# What a client's 256 MiB have room for twice, once for each of the slow kinds; 43 at once are tried a lot.
_AT_ONCE = 45
# In parallel, because slow calls one after the other would take minutes.
_PARALLEL = (
    'n=0; while [ $n -lt $count ]; do n=$((n + 1)); mkdir "$n"; ( cd "$n"; {} ) >"$n/line" & '
    f"[ $((n % {_AT_ONCE})) -ne 0 ] || wait; done; wait; cat */line"
)
# What the shell says of a program that the kernel ended, mostly for want of memory.
_KILLED = re.compile(r"\bKilled$")


class Protocol(StrEnum):
    """The protocol or the kind of a call; the value is its name in messages."""

    LARGE_BODY = "1 MiB there and back"
    HTTP2 = "HTTP/2"
    TCP = "opaque TCP"
    GRPC = "gRPC"
    LONG_WAIT = "an answer after 16 s"
    SILENCE = "a connection that is silent for 16 s"


SLOW = frozenset({Protocol.LONG_WAIT, Protocol.SILENCE})
"""The kinds that always take at least ``WAIT_SECONDS``."""


_SCRIPTS = {
    Protocol.LARGE_BODY: f"head -c {BODY_BYTES} /dev/urandom >sent; "
    + _EACH.format(
        'get -D answer -o got --data-binary @sent "http://$host:5002/echo" >>answer; '
        "if cmp -s sent got; then report yes; else report no; fi"
    ),
    Protocol.HTTP2: _EACH.format(
        "get --http2-prior-knowledge \"http://$host:5012/describe\" >answer; expect 'protocol: HTTP/2.0, opaque: false'"
    ),
    Protocol.TCP: _EACH.format("get \"http://$host:5022/describe\" >answer; expect 'opaque: true'"),
    Protocol.GRPC: _EACH.format(
        "printf '\\0\\0\\0\\0\\0' | get --http2-prior-knowledge -H 'content-type: application/grpc' -H 'te: trailers' "
        '-D answer -o got --data-binary @- "http://$host:5003/grpc.health.v1.Health/Check" >>answer; '
        "expect '^grpc-status: 0'"
    ),
    Protocol.LONG_WAIT: _PARALLEL.format(
        f"get \"http://$host:5002/slow?seconds={WAIT_SECONDS}\" >answer; expect 'after: {WAIT_SECONDS}'"
    ),
    # Three requests on one connection, which is idle during the second. curl would reopen a closed connection, but a
    # sidecar would not on this port, which is opaque TCP to it.
    Protocol.SILENCE: _PARALLEL.format(
        "get -w 'connections opened: %{num_connects}\\n' "
        f'"http://$host:5022/describe" "http://$host:5022/slow?seconds={WAIT_SECONDS}" "http://$host:5022/describe" '
        ">answer; if [ \"$(sed -n 's/^connections opened: //p' answer | tr -d '\\n')\" = 100 ] "
        f"&& grep -q 'after: {WAIT_SECONDS}' answer && [ \"$(grep -c 'opaque: true' answer)\" = 2 ] "
        "&& [ \"$(sed -n 's/.*instance: *\\([^ ,]*\\).*/\\1/p' answer | sort -u | wc -l)\" = 1 ]; "
        "then report yes; else report no; fi"
    ),
}


@dataclass(frozen=True)
class ProtocolCall:
    """One call: the version that answered (empty without an answer), whether the answer is correct, and its text."""

    version: str
    ok: bool
    output: str


def command(protocol: Protocol, namespace: str, *, times: int, timeout: float) -> list[str]:
    """The command that makes ``times`` calls, each of at most ``timeout`` seconds."""
    return ["sh", "-c", _PRELUDE + _SCRIPTS[protocol], "sh", f"{_SERVICE}.{namespace}", str(times), f"{timeout:g}"]


def parse(printed: str, times: int) -> tuple[ProtocolCall, ...]:
    """Parse the output of the command.

    Raises EnvironmentBroke if it has not one line per call, or if calls were killed in the client's own container.
    """
    matches = [match for line in printed.splitlines() if (match := _LINE.fullmatch(line))]
    if len(matches) != times:
        raise EnvironmentBroke(f"the client reported {len(matches)} of {times} calls", seen=printed[-200:])
    calls = tuple(ProtocolCall(match["version"], match["ok"] == "yes", match["output"].strip()) for match in matches)
    if killed := [call for call in calls if not call.ok and _KILLED.search(call.output)]:
        raise EnvironmentBroke(
            "the client's container has room for its calls", seen=f"{len(killed)} of {times} were killed there"
        )
    return calls
