"""Requests that each open a new connection: the command that sends them in rounds, and what it measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from statistics import median, quantiles

from splithorizon.base import statistics
from splithorizon.istio.topology import Route
from splithorizon.traffic import requests
from splithorizon.traffic.requests import Reply
from splithorizon.traffic.upstream_counts import NOT_COUNTED, Attempts

SERVICE = "new-connections"
PORT = 5001

AT_ONCE = 20
"""Connections of one round to the far network: few enough that a sidecar with a tenth of a core does not queue them."""
NEAR_AT_ONCE = 5
"""Connections of one round to the near network: what they suffer as well is not the way to the far one."""
ROUNDS_AT_A_TIME = 3
ROUNDS = 21
"""Rounds that are judged; those in which the client itself was held up come on top."""
MOST_ROUNDS = 2 * ROUNDS
LEFT_OUT = 2
"""Rounds that are left out, those with the most losses: a moment in which a machine or a route stands still delays all
connections that are under way together, and says nothing of a rate."""

LOSS_RATE = 0.01
"""What may be lost: nothing above this share is chance, at the false alarm of every check."""
# The first retransmission of a SYN comes after a second.
_RETRANSMITTED = 0.9
# A sidecar that is short of processor time makes connections one after the other. Then those of a round take up to
# twice the median, and no one is late by more than this many times what lies between the median and the fastest.
_QUEUED = 2
# From this many seconds between the median and the fastest on, a late one may be queued as well as sent again. With
# packets lost the median itself was 0.14 at most, beside another mesh; on a machine that was too busy it was 0.5.
_TOO_QUEUED = 0.2

# Each request of a round is a transfer of one curl process; the next round begins when the last one has ended.
SCRIPT = r"""
set -eu
far=$1 near=$2 at_once=$3 near_at_once=$4 rounds=$5 batch=$6 timeout=$7
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bodies"
awk -v far="$far" -v near="$near" -v at_once="$at_once" -v near_at_once="$near_at_once" -v rounds="$rounds" \
  -v batch="$batch" -v folder="$folder" -v timeout="$timeout" '
function request(id, url) {
  print (begun++ ? "next\n" : "") "url = \"" url "\"" >file
  print "header = \"x-request-id: " id "\"" >file
  print "header = \"connection: close\"" >file
  print "max-time = " timeout >file
  print "silent" >file
  print "noproxy = \"*\"" >file
  print "output = \"" folder "/bodies/" id "\"" >file
  print "write-out = \"%{stderr}reply " id " %{http_code} %{time_total} %{exitcode} %{errormsg}\\n\"" >file
}
BEGIN {
  for (round = 1; round <= rounds; round++) {
    file = folder "/round-" round
    begun = 0
    for (n = 1; n <= at_once; n++) request(batch "-" ++count, far)
    for (n = 1; n <= near_at_once; n++) request(batch "-near-" ++others, near)
    close(file)
  }
}'
status=0
round=0
while [ $((round += 1)) -le "$rounds" ]; do
  curl -q --no-progress-meter --parallel --parallel-immediate --parallel-max $((at_once + near_at_once)) \
    --config "$folder/round-$round" 2>>"$folder/results" || status=$?
done
cat "$folder/results"
cd "$folder/bodies"
echo bodies
grep -r '' . || true
echo "end $status"
"""


@dataclass(frozen=True)
class Losses:
    """Of a number of connections those that were made late, and those on which nothing was answered.

    ``timed_out`` are those of the failed ones that got no answer in time: they may be no more than very late.
    """

    connections: int
    late: int
    failed: int
    timed_out: int = 0

    @property
    def count(self) -> int:
        """Late and failed ones."""
        return self.late + self.failed

    def exceed(self, connections: int | None = None) -> bool:
        """Whether they exceed chance at a share of ``LOSS_RATE``, of these connections or of ``connections``."""
        return self.count > statistics.most(connections or self.connections, LOSS_RATE)

    def __str__(self) -> str:
        """As messages show them."""
        return f"{self.late} late and {self.failed} failed of {self.connections}"


@dataclass(frozen=True)
class NewConnections:
    """Rounds of requests from one client: each on a new connection, to the far network or the near one.

    ``attempts`` are the endpoints of the far Service before and after.
    """

    route: Route
    far: tuple[tuple[Reply, ...], ...]
    near: tuple[tuple[Reply, ...], ...]
    attempts: Attempts = NOT_COUNTED

    def and_then(self, more: NewConnections) -> NewConnections:
        """Both, one after the other."""
        attempts = Attempts(self.attempts.before or more.attempts.before, more.attempts.after)
        return NewConnections(self.route, (*self.far, *more.far), (*self.near, *more.near), attempts)

    @property
    def decided(self) -> bool:
        """Whether more rounds change nothing: all are there, or there are too many losses even for that many."""
        enough = self.enough_judged or len(self.far) >= MOST_ROUNDS
        return enough or self.losses.exceed((ROUNDS - LEFT_OUT) * AT_ONCE)

    @property
    def enough_judged(self) -> bool:
        """Whether as many rounds as are needed say something of the far network."""
        return len(self._judged) >= ROUNDS

    @property
    def near_fails(self) -> bool:
        """Whether the near network fails connections beyond chance: whether it delays them is not learnt then."""
        return replace(self.near_losses, late=0).exceed()

    @property
    def median(self) -> float:
        """The seconds that the far network's answers took, in the median; 0 without an answer."""
        times = _times(self.far)
        return median(times) if times else 0.0

    @property
    def held_up(self) -> int:
        """The rounds of which more than half came late in the near network as well: they say nothing of the far one.

        They are left out, however many they are.
        """
        return len(self.far) - len(self._judged)

    @property
    def standstills(self) -> int:
        """The other rounds to the far network of which more than half came late.

        What loses packets delays each by itself: of a loss that high most connections would be late in most rounds, and
        the median with them.
        """
        return sum(map(_stood_still, self._judged))

    @property
    def too_queued(self) -> bool:
        """Whether connections wait for each other so long that late ones, or none in time, say nothing of packets."""
        return _queued(_times(self.far)) >= _TOO_QUEUED

    @property
    def losses(self) -> Losses:
        """Those of the connections to the far network, without rounds that stood still, and without the worst."""
        rounds = self._judged
        moving = [one for one in rounds if not _stood_still(one)]
        return _without_worst(moving, max(0, LEFT_OUT - (len(rounds) - len(moving))))

    @property
    def near_losses(self) -> Losses:
        """Those of the connections to the near network, without the worst rounds."""
        return _without_worst(_by_round(self.near), LEFT_OUT)

    @property
    def _judged(self) -> list[Losses]:
        # A near network that fails is asked in the first rounds alone.
        both = zip_longest(_by_round(self.far), _by_round(self.near), fillvalue=Losses(0, 0, 0))
        return [far for far, near in both if not (_stood_still(far) and _stood_still(near))]

    @property
    def all_losses(self) -> Losses:
        """Those of the connections to the far network, of all rounds."""
        return _without_worst(_by_round(self.far), 0)

    @property
    def failures(self) -> Counter[str]:
        """What became of each request to the far network that was not answered."""
        return Counter(reply.error or f"HTTP {reply.status}" for one in self.far for reply in one if not reply.answered)

    @property
    def refused_at(self) -> Mapping[str, int]:
        """The far endpoints to which no connection was made, with the number of those that failed."""
        return {} if self.attempts.broken_off else self.attempts.refused_at


def _times(rounds: Sequence[Sequence[Reply]]) -> list[float]:
    return [reply.seconds for one in rounds for reply in one if reply.answered]


def _by_round(rounds: Sequence[Sequence[Reply]]) -> list[Losses]:
    late_after = _late_after(_times(rounds))
    return [
        Losses(
            len(one),
            sum(reply.answered and reply.seconds >= late_after for reply in one),
            sum(not reply.answered for reply in one),
            sum(reply.timed_out for reply in one),
        )
        for one in rounds
    ]


def _stood_still(one: Losses) -> bool:
    return one.late > one.connections / 2


def _without_worst(rounds: Sequence[Losses], left_out: int) -> Losses:
    kept = sorted(rounds, key=lambda one: one.count)[: max(0, len(rounds) - left_out)]
    return Losses(
        sum(one.connections for one in kept),
        sum(one.late for one in kept),
        sum(one.failed for one in kept),
        sum(one.timed_out for one in kept),
    )


def service_of(version: str) -> str:
    """The Service whose pods all run one version of helloworld."""
    return f"{SERVICE}-{version}"


def command(
    far: str, near: str, *, rounds: int, batch: str, timeout: float, near_at_once: int = NEAR_AT_ONCE
) -> list[str]:
    """The command that sends rounds of requests to two URLs; one request may take ``timeout`` seconds."""
    numbers = map(str, (AT_ONCE, near_at_once, rounds))
    return ["sh", "-c", SCRIPT, "sh", far, near, *numbers, batch, f"{timeout:g}"]


def parse(stdout: str, route: Route, *, rounds: int, batch: str, near_at_once: int = NEAR_AT_ONCE) -> NewConnections:
    """Parse the output of the command; a request without output counts as lost.

    Raises EnvironmentBroke if the output is cut off or curl did not run.
    """
    far = requests.request_ids(batch, rounds * AT_ONCE)
    near = requests.request_ids(f"{batch}-near", rounds * near_at_once)
    replies = requests.parse(stdout, [*far, *near])
    return NewConnections(route, _in_rounds(replies[: len(far)], rounds), _in_rounds(replies[len(far) :], rounds))


def _in_rounds(replies: Sequence[Reply], rounds: int) -> tuple[tuple[Reply, ...], ...]:
    size = max(1, len(replies) // rounds)
    return tuple(tuple(replies[start : start + size]) for start in range(0, len(replies), size))


def _late_after(times: Sequence[float]) -> float:
    """The seconds from which on a connection is late: it was not queued, and it is not the way that is long."""
    return median(times) + max(_RETRANSMITTED, _QUEUED * _queued(times)) if times else 0.0


def _queued(times: Sequence[float]) -> float:
    """The seconds between the median and the fastest: a long way is as long for both."""
    return median(times) - quantiles(times, n=10, method="inclusive")[0] if len(times) > 1 else 0.0
