"""How long istiod takes to bring a change to proxies, seen by requests that a client sends all the time.

Both clusters' nodes are containers of this machine, so that one clock, the time since the machine started, is read on
both sides: in the client by ``/proc/uptime``, whose steps are 10 ms.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.traffic import workloads
from splithorizon.traffic.client import Client

# The name of a Service that only the other cluster has does not resolve: the request goes to the address of another
# one, whose port has the same listener, and its Host chooses the route. An unknown Host is passed on to that address,
# and a pod of the client's cluster answers: only the version says who did.
_SCRIPT = r"""
set -u
host=$1 url=$2 version=$3 until=$4 held=$5 seconds=$6 mark=$7
trap 'rm -f "$mark"' EXIT
in_a_row=0
read -r now _ </proc/uptime
end=$((${now%.*} + seconds))
while [ "$in_a_row" -lt "$held" ] && [ "${now%.*}" -lt "$end" ]; do
  read -r begun _ </proc/uptime
  case $(curl -qs --noproxy '*' -m 2 -H "Host: $host" "$url") in
    *"version: $version,"*) answer=reached ;;
    *) answer=missed ;;
  esac
  read -r now _ </proc/uptime
  echo "$begun $now $answer"
  if [ "$answer" = "$until" ]; then in_a_row=$((in_a_row + 1)); else in_a_row=0; fi
  : >"$mark"
done
"""
_HAS_MARK = '[ -e "$1" ]'
# So many in a row: a state that a proxy holds only for a moment is not the end of a change.
_HELD = 10
_REQUEST = re.compile(r"(?P<begun>[\d.]+) (?P<ended>[\d.]+) (?P<answer>reached|missed)")


class Until(StrEnum):
    """What a client's requests wait for: that they reach the far cluster, or that they miss it."""

    REACHED = "reached"
    MISSED = "missed"


@dataclass(frozen=True)
class Request:
    """One request: begin and end in seconds since the machine started, and whether the far cluster answered."""

    begun: float
    ended: float
    reached: bool


def parse(printed: str) -> tuple[Request, ...]:
    """The requests that the script printed, oldest first."""
    return tuple(
        Request(float(found["begun"]), float(found["ended"]), found["answer"] == Until.REACHED)
        for line in printed.splitlines()
        if (found := _REQUEST.fullmatch(line))
    )


def converged_after(requests: Sequence[Request], changed: float, until: Until) -> float:
    """The seconds from a change to the first answer of the far cluster, or to the last request that it answered.

    Raises EnvironmentBroke where the requests began after the change, or do not end in the state that was waited for.
    """
    if not requests or requests[0].begun > changed:
        raise EnvironmentBroke("no request was sent before the change", seen=f"{len(requests)} requests")
    if any(request.reached is not (until is Until.REACHED) for request in requests[-_HELD:]) or len(requests) < _HELD:
        seen = f"the last of {len(requests)} requests: {['missed', 'reached'][requests[-1].reached]}"
        raise EnvironmentBroke(f"the change did not reach the client's proxy within {_within():.0f} s", seen=seen)
    times = [request.ended if until is Until.REACHED else request.begun for request in requests if request.reached]
    if not times:
        raise EnvironmentBroke("the far cluster did not answer before the change")
    return max(0.0, (times[0] if until is Until.REACHED else times[-1]) - changed)


def measure(client: Client, host: str, version: str, until: Until, change: Callable[[], object]) -> float:
    """Make a change while a client sends to a host; return the seconds of ``converged_after``.

    ``version`` is the one that the far cluster alone runs. Raises EnvironmentBroke as ``converged_after`` does.
    """
    mark = f"/tmp/{host}.{until}"  # noqa: S108  # in the client's container
    url = f"http://{workloads.SERVICE}.{client.namespace}:{workloads.PORT}/hello"
    script = ["sh", "-c", _SCRIPT, "sh", host, url, version, until, str(_HELD), f"{_within():.0f}", mark]
    execute = partial(client.kube.execute, client.pod, client.namespace, workloads.CLIENT)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(execute, script, within=_within() + timeouts().small_command)
        eventually(f"{client.pod} sends", partial(_require_mark, execute, mark), within=timeouts().small_command)
        changed = time.clock_gettime(time.CLOCK_BOOTTIME)
        change()
        printed, _, _ = sending.result()
    return converged_after(parse(printed), changed, until)


def _require_mark(execute: Callable[..., tuple[str, str, int]], mark: str) -> None:
    _, _, status = execute(["sh", "-c", _HAS_MARK, "sh", mark], within=timeouts().small_command)
    if status:
        raise NotYet("no request has ended yet")


def _within() -> float:
    return timeouts().endpoints_pushed
