"""Batches of requests: the command that sends one in the client's container, and the parser of its output."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from splithorizon.base.errors import EnvironmentBroke

# Requests are sent one after the other, at some 600 per second. Without requests in flight the choices of an endpoint
# are independent, as the statistics require. curl opens a new connection for each request and retries none, so that a
# lost reply is part of the result. The script runs with busybox and dash, and with curl 7.75 or newer. Each body is
# written to a file named by its request id, because the output of two transfers may interleave.
BATCH_SCRIPT = r"""
set -eu
url=$1 count=$2 batch=$3 timeout=$4 within=$5 patience=$6
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
echo 0 >"$folder/status"
# Results go to standard error, which curl does not buffer: a timeout loses none of them.
{
  sh -c 'echo $$ >"$1/curl"; exec timeout "$2" curl -q --config "$1/requests"' sh "$folder" "$within" 2>&1 ||
    echo $? >"$folder/status"
} | while read -r word id code seconds exit error; do
  printf '%s\n' "$word $id $code $seconds $exit $error"
  # Who waits for the rest, a second or ten of them each, learns nothing new.
  if [ "$patience" -gt 0 ]; then
    patience=$((patience - ${seconds%.*}))
    [ "$patience" -gt 0 ] || kill "$(cat "$folder/curl")" || true
  fi
done
status=$(cat "$folder/status")
# The exit status of a timeout is 124 from coreutils, and 143 (SIGTERM) from busybox.
[ "$status" != 143 ] || status=124
rm "$folder/requests" "$folder/status" "$folder/curl"
cd "$folder"
echo bodies
grep -r '' . || true
echo "end $status"
"""

# A status of 126 or higher is from the shell: curl is not executable, not found or was killed.
_END = re.compile(r"(?:^|\n)end (?:\d{1,2}|1[01]\d|12[0-5])\n$")
_RESULT = re.compile(r"reply (?P<id>\S+) (?P<code>\d{3}) (?P<seconds>[\d.]+) (?P<exit>\d+) ?(?P<error>.*)")
_BODY = re.compile(r"\./(?P<id>[^:]+):(?P<text>.*)")
_NOT_ENDED = "not sent or not ended within the time of the batch"
_HELLO = re.compile(r"Hello version: (?P<version>[^,\s]+), instance: (?P<instance>\S+)")


@dataclass(frozen=True)
class Reply:
    """The result of one request: its answer, or the error. ``status`` is 0 without an answer."""

    request_id: str
    status: int = 0
    seconds: float = 0.0
    body: str = ""
    error: str = ""

    @property
    def version(self) -> str | None:
        """The version of helloworld that answered; None if none did."""
        match = _HELLO.search(self.body)
        return match["version"] if match else None

    @property
    def instance(self) -> str | None:
        """The pod that answered; None if none did."""
        match = _HELLO.search(self.body)
        return match["instance"] if match else None

    @property
    def ended(self) -> bool:
        """Whether the request was sent and ended; otherwise the sidecar has no line of it."""
        return self.error != _NOT_ENDED

    @property
    def timed_out(self) -> bool:
        """Whether no answer came in the time that a request may take, by curl's exit code."""
        return self.error.startswith("curl 28:")

    @property
    def answered(self) -> bool:
        """Whether a helloworld pod answered, and the answer is complete."""
        return self.status == 200 and self.version is not None and not self.error


def command(url: str, *, times: int, batch: str, timeout: float, within: float, patience: float = 0) -> list[str]:
    """The command that sends a batch; one request may take ``timeout`` seconds, and the batch ``within`` seconds.

    With ``patience`` the batch ends earlier, once the whole seconds that its requests took add up to this number: a
    request of a sound mesh takes none. Requests that are not sent by then count as lost.
    """
    return ["sh", "-c", BATCH_SCRIPT, "sh", url, str(times), batch, f"{timeout:g}", f"{within:g}", f"{patience:.0f}"]


def require_all_sent(replies: Sequence[Reply]) -> None:
    """Raise EnvironmentBroke where a batch ended early although every request that was sent was answered.

    It was slow then, and how slow a client's node is says nothing of the mesh. Where one failed, all count.
    """
    ended = [reply for reply in replies if reply.ended]
    if len(ended) < len(replies) and all(reply.answered for reply in ended):
        slowest = max((reply.seconds for reply in ended), default=0.0)
        raise EnvironmentBroke(
            "the requests are too slow to be sent in the time of a batch, and none of them failed",
            seen=f"{len(ended)} of {len(replies)} sent, all of them answered, the slowest after {slowest:.1f} s",
        )


def request_ids(batch: str, times: int) -> list[str]:
    """The values of ``x-request-id`` of a batch."""
    return [f"{batch}-{number}" for number in range(1, times + 1)]


def parse(stdout: str, expected: Sequence[str]) -> list[Reply]:
    """Parse the output of a batch; a request without output counts as lost.

    Raises EnvironmentBroke if the output is cut off or curl did not run.
    """
    if not _END.search(stdout) or not stdout.startswith("reply "):
        raise EnvironmentBroke("the batch was not sent, or not completely", seen=stdout[-200:])
    results, _, bodies = stdout.partition("\nbodies\n")
    texts: dict[str, list[str]] = {}
    for line in bodies.splitlines():
        if match := _BODY.fullmatch(line):
            texts.setdefault(match["id"], []).append(match["text"])
    matches = {match["id"]: match for line in results.splitlines() if (match := _RESULT.fullmatch(line))}
    replies = []
    for request_id in expected:
        result = matches.get(request_id)
        if result is None:
            replies.append(Reply(request_id, error=_NOT_ENDED))
            continue
        error = "" if result["exit"] == "0" else f"curl {result['exit']}: {result['error']}"
        body = "\n".join(texts.get(request_id, []))
        replies.append(Reply(request_id, int(result["code"]), float(result["seconds"]), body, error))
    return replies
