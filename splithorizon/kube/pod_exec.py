"""Runs a command in a container by a websocket to the API server, with one deadline for all of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from functools import partial

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube import api_websocket
from splithorizon.kube.api_websocket import Endpoint

_STDOUT, _STDERR, _STATUS = 1, 2, 3
_STREAMS = (("stdout", "true"), ("stderr", "true"))
_FORBIDDEN = 403
# As runc says it where its own first process ended before the command began; of a command that the container does not
# have it says `exec: "name"` at the end.
_NOT_STARTED = re.compile(r"unable to start container process: (?!exec: )")


class NotPermitted(EnvironmentBroke):
    """The user may not run commands in that pod."""


def run(
    endpoint: Endpoint,
    path: str,
    query: Sequence[tuple[str, str]],
    *,
    what: str,
    within: float,
    limit: int | None = None,
) -> tuple[str, str, int]:
    """Run the command in ``query``; return its standard output, standard error and exit status.

    ``what`` names the command in errors. Raises NotPermitted if the user may not run it, and EnvironmentBroke if it
    cannot be run, the stream is cut off, it prints more than ``limit`` bytes, or it does not end within ``within``
    seconds. It then goes on in the container, because Kubernetes cannot stop it.

    Where the container runtime did not start the command, it is asked again: nothing of it has run.
    """
    begin = partial(_run, endpoint, path, query, what=what, within=within, limit=limit)
    return eventually(f"{what} could be run", begin, within=timeouts().exec_started)


def _run(
    endpoint: Endpoint, path: str, query: Sequence[tuple[str, str]], *, what: str, within: float, limit: int | None
) -> tuple[str, str, int]:
    import websocket

    deadline = time.monotonic() + within
    channels = {_STDOUT: bytearray(), _STDERR: bytearray(), _STATUS: bytearray()}
    try:
        with api_websocket.opened(endpoint, path, [*query, *_STREAMS], within=within) as socket:
            while True:
                socket.settimeout(max(0.001, deadline - time.monotonic()))
                opcode, data = socket.recv_data()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    break
                if data:
                    channels[data[0]] += data[1:]
                if limit is not None and sum(map(len, channels.values())) > limit:
                    raise EnvironmentBroke(f"{what} printed more than {limit} bytes")
    except websocket.WebSocketTimeoutException:
        seen = (channels[_STDERR] or channels[_STDOUT])[-300:].decode(errors="replace")
        raise EnvironmentBroke(f"{what} did not end within {within:g} s", seen=seen) from None
    except (websocket.WebSocketException, OSError) as error:
        if not channels[_STATUS]:
            broke = NotPermitted if getattr(error, "status_code", 0) == _FORBIDDEN else EnvironmentBroke
            raise broke(f"{what} could not be run", seen=api_websocket.reason(error)) from None
    status = _exit_status(bytes(channels[_STATUS]), what)
    stdout, stderr = (channels[channel].decode(errors="replace") for channel in (_STDOUT, _STDERR))
    return stdout, stderr, status


def _exit_status(answer: bytes, what: str) -> int:
    """Read the Status at the end of the stream; raises EnvironmentBroke if the command did not run.

    And NotYet if the container runtime could not start it.
    """
    status = json.loads(answer or b"{}")
    if status.get("status") == "Success":
        return 0
    for cause in status.get("details", {}).get("causes", []):
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    seen = status.get("message", "the stream was cut off")
    if _NOT_STARTED.search(seen):
        raise NotYet(seen)
    raise EnvironmentBroke(f"{what} could not be run", seen=seen)
