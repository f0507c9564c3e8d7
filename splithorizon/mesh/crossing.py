"""One batch each way, and what every proxy between the networks logged of the answers that crossed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from splithorizon import changes, process, workloads
from splithorizon.durations import current as durations
from splithorizon.errors import EnvironmentBroke, TimedOut
from splithorizon.kube import Kube, Object
from splithorizon.mesh.model import Mesh
from splithorizon.observations.access_log import AccessLogLine
from splithorizon.observations.client import Sample
from splithorizon.observations.hops import Hops, follow
from splithorizon.observations.passage import server_name
from splithorizon.observations.proxy_log import ProxyLog, whole_second_before
from splithorizon.route import ROUTES, Route
from splithorizon.topology import MANIFESTS
from splithorizon.waiting import NotYet, eventually

_ONE_REQUEST = MANIFESTS / "routing" / "one-request-a-connection.yaml"


@dataclass(frozen=True)
class Crossing:
    """A batch on one route: the far version's answers hop by hop, and whose hops those have to be."""

    route: Route
    requests: int
    answers: tuple[Hops, ...]
    server_name: str
    far_gateway: frozenset[str]
    """Where the other network reaches the gateway, address and port."""
    gateway_pods: frozenset[str]
    """The gateway's own pods' addresses."""
    far_pods: frozenset[str]
    """The service's pods, address and port."""


def cross(mesh: Mesh, undo: ExitStack, *, times: int) -> Mapping[Route, Crossing]:
    """Send one batch each way with a connection for each request, and follow the far version's answers.

    A gateway logs a connection when it ends, and side-cars keep theirs: hence the rule, until the undo. Raises
    EnvironmentBroke for a log in no known format, and for one that says nothing of what passed.
    """
    changes.apply(mesh.primary.kube, _ONE_REQUEST, mesh.facts.namespace, undo)
    begun = whole_second_before()
    samples = mesh.samples(times=times)
    found = process.side_by_side(**{str(route): partial(_follow, mesh, samples[route], begun) for route in ROUTES})
    return {route: found[str(route)] for route in ROUTES}


def _follow(mesh: Mesh, sample: Sample, begun: datetime) -> Crossing:
    route, far = sample.route, mesh[sample.route.far]
    version = workloads.VERSION_OF[route.far]
    answers = [pair for pair in sample.joined.pairs if pair.reply.version == version]
    ids = [pair.reply.request_id for pair in answers[:1]]
    gateways = [one.pod for one in far.injected_pods if one.is_gateway]
    gateway_logs = [_log_of(far.kube, pod) for pod in gateways]
    pod_logs = [_log_of(far.kube, pod) for pod in far.helloworld_pods]
    latest: tuple[Hops, ...] = ()

    def look() -> None:
        nonlocal latest
        latest = follow(
            answers,
            gateway=[line for log in gateway_logs for line in log.lines(begun)],
            pods=[line for log in pod_logs for line in log.lines(begun, request_ids=ids)],
        )
        if missing := sum(not hops.whole for hops in latest):
            raise NotYet(f"{missing} of {len(latest)} answers are not in every log")

    with suppress(TimedOut):
        eventually(f"{route}: each answer is in every log", look, within=durations().log_flushed)
    _require_logged(latest, [hops.arrived for hops in latest], pod_logs, begun)
    gateway_pods = frozenset(str(pod["status"]["podIP"]) for pod in gateways)
    through = [hops for hops in latest if hops.came_from in gateway_pods]
    _require_logged(through, [hops.passed for hops in through], gateway_logs, begun)
    return Crossing(
        route,
        requests=len(sample.replies),
        answers=latest,
        server_name=server_name(mesh.facts.namespace),
        far_gateway=far.gateway_addresses,
        gateway_pods=gateway_pods,
        far_pods=far.helloworld_addresses,
    )


def _require_logged(
    answers: Sequence[Hops], lines: Sequence[AccessLogLine | None], logs: Sequence[ProxyLog], begun: datetime
) -> None:
    """Raise EnvironmentBroke where these logs hold nothing of the answers, or were begun anew meanwhile."""
    if None not in lines:
        return
    for log in logs:
        log.require_whole(begun)
    if not any(lines):
        told = " and ".join(map(str, logs)) or "no access log"
        raise EnvironmentBroke(
            f"{told} holds none of {len(answers)} answers",
            seen="access logging is off there, or goes elsewhere than standard output",
            next_command=logs[0].by_hand if logs else "",
        )


def _log_of(kube: Kube, pod: Object) -> ProxyLog:
    return ProxyLog(kube, pod["metadata"]["namespace"], pod["metadata"]["name"])
