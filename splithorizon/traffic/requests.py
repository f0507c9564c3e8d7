"""One batch of requests, sent by one command in the client's container, and what came back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from splithorizon.base.errors import EnvironmentBroke

# One request at a time: with none in flight every choice of an endpoint is an independent draw, on
# which the statistics rely, and it still makes 600 a second. A new connection each, from curl's
# side. No retry; a reply that is lost is a result. Busybox and dash both run it, with curl 7.75 or
# newer. The bodies go to files named by their request's id: two transfers' output may interleave.
BATCH_SCRIPT = r"""
set -eu
url=$1 count=$2 batch=$3 timeout=$4 within=$5
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
awk -v url="$url" -v count="$count" -v batch="$batch" -v folder="$folder" \
  -v timeout="$timeout" 'BEGIN {
  for (n = 1; n <= count; n++) {
    id = batch "-" n
    if (n > 1) print "next"
    print "url = \"" url "\""
    print "header = \"x-request-id: " id "\""
    print "header = \"connection: close\""
    print "max-time = " timeout
    print "silent"
    print "noproxy = \"*\""
    print "output = \"" folder "/" id "\""
    print "write-out = \"%{stderr}reply " id " %{http_code} %{time_total} %{exitcode} %{errormsg}\\n\""
  }
}' >"$folder/requests"
status=0
# Results go to standard error, which curl does not hold back: one that is out of time loses none.
(timeout "$within" curl -q --config "$folder/requests"; exit $?) 2>"$folder/results" || status=$?
# Out of time: 124 from coreutils, and from busybox what a terminated program leaves.
[ "$status" != 143 ] || status=124
cat "$folder/results"
rm "$folder/requests" "$folder/results"
cd "$folder"
echo bodies
grep -r '' . || true
echo "end $status"
"""

# From 126 on the shell speaks, not curl: not executable, not found, killed.
_END = re.compile(r"(?:^|\n)end (?:\d{1,2}|1[01]\d|12[0-5])\n$")
_RESULT = re.compile(r"reply (?P<id>\S+) (?P<code>\d{3}) (?P<seconds>[\d.]+) (?P<exit>\d+) ?(?P<error>.*)")
_BODY = re.compile(r"\./(?P<id>[^:]+):(?P<text>.*)")
_NOT_ENDED = "not sent or not ended when the batch's time was up"
_HELLO = re.compile(r"Hello version: (?P<version>[^,\s]+), instance: (?P<instance>\S+)")


@dataclass(frozen=True)
class Reply:
    """What became of one request: its answer, or why there is none."""

    request_id: str
    status: int = 0
    seconds: float = 0.0
    body: str = ""
    error: str = ""

    @property
    def version(self) -> str | None:
        """The version that answered; None where none did."""
        found = _HELLO.search(self.body)
        return found["version"] if found else None

    @property
    def instance(self) -> str | None:
        """The pod that answered; None where none did."""
        found = _HELLO.search(self.body)
        return found["instance"] if found else None

    @property
    def ended(self) -> bool:
        """Whether the request was sent and came to an end; one that did not has no line in a log either."""
        return self.error != _NOT_ENDED

    @property
    def answered(self) -> bool:
        """Whether a helloworld pod answered, and all of its answer came."""
        return self.status == 200 and self.version is not None and not self.error


def command(url: str, *, times: int, batch: str, timeout: float, within: float) -> list[str]:
    """The command that sends a batch; a request may take ``timeout`` seconds, all of them ``within``.

    Where every second request hangs, the batch ends there, and what was not sent counts as lost.
    """
    return ["sh", "-c", BATCH_SCRIPT, "sh", url, str(times), batch, f"{timeout:g}", f"{within:g}"]


def request_ids(batch: str, times: int) -> list[str]:
    """The ids that a batch's requests carry."""
    return [f"{batch}-{number}" for number in range(1, times + 1)]


def parse(stdout: str, expected: Sequence[str]) -> list[Reply]:
    """Read what the batch printed; a request of which it says nothing is a lost reply.

    Raises EnvironmentBroke where the output is cut off or curl did not run: nothing is then known.
    """
    if not _END.search(stdout) or not stdout.startswith("reply "):
        raise EnvironmentBroke("the batch was not sent, or not to its end", seen=stdout[-200:])
    results, _, bodies = stdout.partition("\nbodies\n")
    texts: dict[str, list[str]] = {}
    for line in bodies.splitlines():
        if found := _BODY.fullmatch(line):
            texts.setdefault(found["id"], []).append(found["text"])
    seen = {found["id"]: found for line in results.splitlines() if (found := _RESULT.fullmatch(line))}
    replies = []
    for request_id in expected:
        result = seen.get(request_id)
        if result is None:
            replies.append(Reply(request_id, error=_NOT_ENDED))
            continue
        error = "" if result["exit"] == "0" else f"curl {result['exit']}: {result['error']}"
        body = "\n".join(texts.get(request_id, []))
        replies.append(Reply(request_id, int(result["code"]), float(result["seconds"]), body, error))
    return replies
