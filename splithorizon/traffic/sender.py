"""A pod that sends steadily and logs each result: the script of its main process, its objects, and its log's lines.

The script runs with busybox and dash, and with curl 7.84 or newer. A *series* is the requests of one long-lived curl
process, at a fixed interval, longer than a request may take: one that hangs delays no other, so that the rate is
steady whatever is answered (open loop), and no process is started for a request.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
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
    Stream.GRPC: "gRPC calls on a kept connection",
    Stream.TCP: "a kept TCP connection",
}
"""The streams on connections that are kept, in words."""

# Standard error, because curl keeps back what it writes to a pipe. It writes there by the character, so that a shell
# beside each curl makes whole lines of it. The name of a series is unique: the pod's, the time of its start, its number
# in the pod, and how often its curl was started.
SCRIPT = r"""
set -u
host=$1 series=$2 period=$3 timeout=$4 kept=$5 rate=$6
trap 'exit 0' TERM INT
name="$POD_NAME-$(awk 'BEGIN { srand(); printf "%d", srand() }')"
result='%{http_code}%header{grpc-status} %{num_connects} %{time_total} %{exitcode}'
folder=$(mktemp -d)
printf '\0\0\0\0\0' >"$folder/empty"
until curl -qsf --noproxy '*' -m "$timeout" -o /dev/null "http://$host:5000/hello"; do
  echo "splithorizon waits"
  sleep 1
done
send() {
  stream=$1 number=$2 every=$3 url=$4 mark='?' run=0
  shift 4
  # A gRPC server knows no method with a query; a fragment is not sent.
  [ "$stream" != grpc ] || mark='#'
  while :; do
    run=$((run + 1))
    curl -qs --noproxy '*' --rate "$every" -m "$timeout" -o /dev/null "$@" \
      -w "%{stderr}splithorizon $stream %{url_effective} $result\n" \
      "$url$mark$name-$number-$run-[1-1000000]" 2>&1 | while IFS= read -r line; do printf '%s\n' "$line"; done
    sleep 1
  done
}
if [ "$kept" = yes ]; then
  send http1 http1 "$rate" "http://$host:5002/describe" &
  send http2 http2 "$rate" "http://$host:5012/describe" --http2-prior-knowledge &
  send tcp tcp "$rate" "http://$host:5022/describe" &
  send grpc grpc "$rate" "http://$host:5003/grpc.health.v1.Health/Check" --http2-prior-knowledge \
    -H 'content-type: application/grpc' -H 'te: trailers' --data-binary "@$folder/empty" &
fi
n=0
while [ $n -lt "$series" ]; do
  n=$((n + 1))
  send new $n "$((60 / period))/m" "http://$host:5000/hello" -H 'connection: close' &
  sleep "$(awk -v series="$series" -v period="$period" 'BEGIN { print period / series }')"
done
while :; do sleep 3600 & wait $!; done
"""

_LINE = re.compile(
    r"splithorizon (?P<stream>\w+) \S+[?#](?P<id>(?P<series>\S+-\d+)-(?P<number>\d+)) "
    r"(?P<code>\d{3})(?P<grpc>\d*) (?P<connects>\d+) (?P<seconds>[\d.]+) (?P<exit>\d+)"
)


@dataclass(frozen=True)
class Result:
    """One line of a sender: the request's stream, series and number in it, and what became of it.

    ``lost`` is the reason, empty for an answered request. ``connects`` is how many connections were opened for it.
    """

    stream: Stream
    request_id: str
    series: str
    number: int
    seconds: float
    connects: int
    lost: str


def parse(line: str) -> Result | None:
    """Read a line; None for one that is no result."""
    match = _LINE.fullmatch(line)
    if match is None or match["stream"] not in {*Stream}:
        return None
    return Result(
        Stream(match["stream"]), match["id"], match["series"], int(match["number"]), float(match["seconds"]),
        int(match["connects"]), _lost(int(match["exit"]), int(match["code"]), match["grpc"]),
    )  # fmt: skip


def series_for(rate: int) -> int:
    """How many series of each sender make at least ``rate`` requests a second on a route."""
    return math.ceil(rate * timeouts().watch.request_every / SENDERS)


def steady_rate(rate: int) -> float:
    """The requests a second on a route that these series make."""
    return series_for(rate) * SENDERS / timeouts().watch.request_every


def service_of(version: str) -> str:
    """The Service whose pods all run one version: each request to it from another network passes its gateway."""
    return f"watch-{version}"


def service(version: str, annotations: Mapping[str, str] | None = None) -> Object:
    """That Service; it is needed in every cluster, because a name resolves only where the Service is."""
    ports = {"http": 5000, "http-echo": 5002, "http2-echo": 5012, "tcp-echo": 5022, "grpc-health": 5003}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service_of(version),
            "labels": {"app": workloads.SERVICE},
            "annotations": dict(annotations or {}),
        },
        "spec": {
            "ports": [{"name": name, "port": port} for name, port in ports.items()],
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


def deployment(client: Object, *, target: str, rate: int, kept: bool) -> Object:
    """The senders' Deployment, made like the client's, whose image, rights and adaptations fit the cluster already.

    ``target`` is the host that they send to; ``kept`` whether it serves the protocols of connections that are kept.
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
    container["command"] = ["sh", "-c", SCRIPT, "sh"]
    container["args"] = [
        target, str(series_for(rate)), str(times.request_every), str(times.request_takes), "yes" if kept else "no",
        _KEPT_RATE,
    ]  # fmt: skip
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


def _held_until_the_sidecar_is_ready(config: str) -> str:
    settings: dict[str, Any] = yaml.safe_load(config) or {}
    return str(yaml.safe_dump({**settings, "holdApplicationUntilProxyStarts": True}))


def _lost(exit_status: int, code: int, grpc: str) -> str:
    if exit_status:
        return _CURL_ERRORS.get(exit_status, f"curl {exit_status}")
    if code != 200:
        return f"HTTP {code}"
    return f"gRPC {grpc}" if grpc not in ("", "0") else ""
