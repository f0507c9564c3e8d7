"""A pod that sends steadily and logs each result: its main process, its objects, and its log's lines.

The main process is the program of images/sender, which sends every stream. Where a cluster has no image of it, it is a
script for the client's image, which sends HTTP/1.1 alone. Either has an open loop of requests on new connections: the
rate is steady whatever is answered.

The script runs with busybox and dash, and with curl 7.84 or newer. There a *series* is the requests of one long-lived
curl process, at a fixed interval, longer than a request may take: one that hangs delays no other, and no process is
started for a request. The program has one series for each stream.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import yaml

from splithorizon.base.timeouts import current as timeouts
from splithorizon.istio.names import PROXY_CONFIG_ANNOTATION
from splithorizon.kube.client import Object
from splithorizon.traffic import workloads

NAME = "watch-sender"
MARK = "splithorizon "
WAITS = f"{MARK}waits"
TIMED_OUT = "no answer in time"
SENDERS = 2
"""Pods of each route; a roll-out restarts one after the other."""
_CURL_ERRORS = {6: "name not resolved", 7: "no connection", 18: "answer cut off", 28: TIMED_OUT,
                52: "closed without an answer", 55: "connection reset", 56: "connection reset"}  # fmt: skip
_KEPT_RATE = "2/s"
_KEPT_EVERY = "500ms"


class Stream(StrEnum):
    """What a series consists of: requests on new connections, or on one connection that is kept."""

    NEW = "new"
    HTTP1 = "http1"
    HTTP2 = "http2"
    GRPC = "grpc"
    TCP = "tcp"


KEPT = {
    Stream.HTTP1: "a kept HTTP/1.1 connection",
    Stream.HTTP2: "a kept HTTP/2 connection",
    Stream.GRPC: "a bidirectional gRPC stream",
    Stream.TCP: "a kept TCP connection",
}
"""The streams on connections that are kept, in words."""
PORTS = {Stream.NEW: 5000, Stream.HTTP1: 5002, Stream.HTTP2: 5012, Stream.TCP: 5022, Stream.GRPC: 5003}
"""The port of helloworld for each; the name of a Service's port says which protocol sidecars take it for."""
_PORT_NAMES = {Stream.NEW: "http", Stream.HTTP1: "http-echo", Stream.HTTP2: "http2-echo", Stream.TCP: "tcp-echo",
               Stream.GRPC: "grpc-stream"}  # fmt: skip
_PATHS = {Stream.NEW: "hello", **dict.fromkeys((Stream.HTTP1, Stream.HTTP2, Stream.TCP), "describe")}
_ANNOUNCED_AS = {Stream.HTTP1: "http", Stream.HTTP2: "http2", Stream.TCP: "tcp", Stream.GRPC: "grpc-stream"}
_OF_THE_SCRIPT = (Stream.HTTP1,)

# Standard error, because curl keeps back what it writes to a pipe. It writes there by the character, so that a shell
# beside each curl makes whole lines of it. The name of a series is unique: the pod's, the time of its start, its number
# in the pod, and how often its curl was started.
SCRIPT = r"""
set -u
host=$1 series=$2 period=$3 timeout=$4 kept=$5 rate=$6
trap 'exit 0' TERM INT
name="$POD_NAME-$(awk 'BEGIN { srand(); printf "%d", srand() }')"
result='%{http_code} %{num_connects} %{time_total} %{exitcode}'
until curl -qsf --noproxy '*' -m "$timeout" -o /dev/null "http://$host:5000/hello"; do
  echo "splithorizon waits"
  sleep 1
done
send() {
  stream=$1 number=$2 every=$3 url=$4 run=0
  shift 4
  while :; do
    run=$((run + 1))
    curl -qs --noproxy '*' --rate "$every" -m "$timeout" -o /dev/null "$@" \
      -w "%{stderr}splithorizon $stream %{url_effective} $result\n" \
      "$url?$name-$number-$run-[1-1000000]" 2>&1 | while IFS= read -r line; do printf '%s\n' "$line"; done
    sleep 1
  done
}
if [ "$kept" = yes ]; then
  send http1 http1 "$rate" "http://$host:5002/describe" &
fi
n=0
while [ $n -lt "$series" ]; do
  n=$((n + 1))
  send new $n "$((60 / period))/m" "http://$host:5000/hello" -H 'connection: close' &
  sleep "$(awk -v series="$series" -v period="$period" 'BEGIN { print period / series }')"
done
while :; do sleep 3600 & wait $!; done
"""

_OF_CURL = re.compile(
    r"splithorizon (?P<stream>\w+) \S+\?(?P<id>(?P<series>\S+-\d+)-(?P<number>\d+)) "
    r"(?P<code>\d{3}) (?P<connects>\d+) (?P<seconds>[\d.]+) (?P<exit>\d+)"
)


@dataclass(frozen=True)
class Result:
    """One line of a sender: the request's stream, series and number in it, and what became of it.

    ``lost`` is the reason, empty for an answered request. ``opened`` is whether a connection was opened for it.
    """

    stream: Stream
    request_id: str
    series: str
    number: int
    seconds: float
    opened: bool
    lost: str


def parse(line: str) -> Result | None:
    """Read a line, of the program or of the script; None for one that is no result."""
    if line.startswith(f"{MARK}{{"):
        return _of_program(line.removeprefix(MARK))
    match = _OF_CURL.fullmatch(line)
    if match is None or match["stream"] not in {*Stream}:
        return None
    return Result(
        Stream(match["stream"]), match["id"], match["series"], int(match["number"]), float(match["seconds"]),
        int(match["connects"]) > 0, _lost(int(match["exit"]), int(match["code"])),
    )  # fmt: skip


def _of_program(text: str) -> Result | None:
    try:
        found = json.loads(text)
        return Result(
            Stream(found["stream"]), str(found["id"]), str(found["series"]), int(found["number"]),
            float(found["seconds"]), bool(found["opened"]), str(found["lost"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        # A log that is cut off ends within a line.
        return None


def streams(served: Collection[str], *, of_program: bool) -> tuple[Stream, ...]:
    """What is sent where every helloworld announces the protocols ``served``: by the program, or by the script."""
    sent = KEPT if of_program else _OF_THE_SCRIPT
    return (Stream.NEW, *(stream for stream in sent if _ANNOUNCED_AS[stream] in served))


def series_for(rate: int) -> int:
    """How many series of each sender make at least ``rate`` requests a second on a route."""
    return math.ceil(rate * timeouts().watch.request_every / SENDERS)


def steady_rate(rate: int, *, of_program: bool) -> float:
    """The requests a second on a route that the senders make."""
    if of_program:
        return _rate_of_each(rate) * SENDERS
    return series_for(rate) * SENDERS / timeouts().watch.request_every


def _rate_of_each(rate: int) -> float:
    """The requests a second of the program in each sender: at least one, or a watch would not know that it sends."""
    return max(1.0, rate / SENDERS)


def service_of(version: str) -> str:
    """The Service whose pods all run one version: each request to it from another network passes its gateway."""
    return f"watch-{version}"


def service(version: str, annotations: Mapping[str, str] | None = None) -> Object:
    """That Service; it is needed in every cluster, because a name resolves only where the Service is."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service_of(version),
            "labels": {"app": workloads.SERVICE},
            "annotations": dict(annotations or {}),
        },
        "spec": {
            "ports": [{"name": _PORT_NAMES[stream], "port": port} for stream, port in PORTS.items()],
            "selector": {"app": workloads.SERVICE, "version": version},
        },
    }


def new_connections_rule(version: str, host: str, policy: Mapping[str, Any] | None = None) -> Object:
    """Let every request have a new connection of the sidecar's too, so that it is new from end to end.

    ``policy`` is the traffic policy that holds for all ports: settings of a port take its place and inherit nothing.
    """
    once = {**(policy or {}), "port": {"number": workloads.PORT}}
    once["connectionPool"] = {"http": {"maxRequestsPerConnection": 1}}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": service_of(version)},
        "spec": {"host": host, "trafficPolicy": {"portLevelSettings": [once]}},
    }


def deployment(client: Object, *, target: str, rate: int, streams: Collection[Stream], image: str = "") -> Object:
    """The senders' Deployment, made like the client's, whose image, rights and adaptations fit the cluster already.

    ``target`` is the host that they send to. ``image`` is that of the program; without it the client's image sends
    those of the ``streams`` that the script knows.
    """
    times = timeouts().watch
    template = deepcopy(client["spec"]["template"])
    template["metadata"]["labels"] = {**template["metadata"].get("labels", {}), "app": NAME}
    annotations = template["metadata"].setdefault("annotations", {})
    annotations[PROXY_CONFIG_ANNOTATION] = _held_until_the_sidecar_is_ready(
        annotations.get(PROXY_CONFIG_ANNOTATION, "")
    )
    spec = template["spec"]
    spec["terminationGracePeriodSeconds"] = times.sender_ends
    container = spec["containers"][0]
    container["name"] = NAME
    container |= _program(image, target, rate, streams) if image else _script(target, rate, streams)
    container["env"] = [
        *container.get("env", ()),
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "labels": {"app": NAME}},
        "spec": {
            "replicas": SENDERS,
            "selector": {"matchLabels": {"app": NAME}},
            "minReadySeconds": times.sender_ready,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": template,
        },
    }


def _program(image: str, target: str, rate: int, streams: Collection[Stream]) -> Object:
    """The container's part where the program sends."""
    arguments = [
        f"-rate={_rate_of_each(rate):g}",
        f"-timeout={timeouts().watch.request_takes:g}s",
        f"-every={_KEPT_EVERY}",
    ]
    for stream in streams:
        host = f"{target}:{PORTS[stream]}"
        arguments.append(f"-{stream}=" + (f"http://{host}/{_PATHS[stream]}" if stream in _PATHS else host))
    return {"image": image, "command": ["/sender"], "args": arguments}


def _script(target: str, rate: int, streams: Collection[Stream]) -> Object:
    """The container's part where the client's curl sends."""
    times = timeouts().watch
    arguments = [target, series_for(rate), times.request_every, times.request_takes]
    kept = "yes" if Stream.HTTP1 in streams else "no"
    return {
        "command": ["sh", "-c", SCRIPT, "sh"],
        "args": [*map(str, arguments), kept, _KEPT_RATE],
    }


def _held_until_the_sidecar_is_ready(config: str) -> str:
    settings: dict[str, Any] = yaml.safe_load(config) or {}
    return str(yaml.safe_dump({**settings, "holdApplicationUntilProxyStarts": True}))


def _lost(exit_status: int, code: int) -> str:
    if exit_status:
        return _CURL_ERRORS.get(exit_status, f"curl {exit_status}")
    return f"HTTP {code}" if code != 200 else ""
