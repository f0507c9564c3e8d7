"""One batch each way, and what every proxy between the networks logged of the answers that crossed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from splithorizon.base import parallel
from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio.topology import Route
from splithorizon.kube.api_server import Refused, TooLarge
from splithorizon.kube.client import Kube, Object
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.isolated_changes import IsolatedChange
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.sampling import Sampling
from splithorizon.traffic import workloads
from splithorizon.traffic.access_log import AccessLogLine
from splithorizon.traffic.client import Sample
from splithorizon.traffic.gateway_stats import server_name
from splithorizon.traffic.proxy_log import AccessLogSilent, AccessLogUnreadable, LogRotated, Moment, ProxyLog
from splithorizon.traffic.trace import Hops, follow

# The batch itself leaves some 100 KB: what is more is other traffic.
_GATEWAY_LOG = 16 << 20
# Requests to follow for each cluster of the mesh, each on a separate connection.
_FOLLOWED = 50
_ONE_REQUEST = MANIFESTS / "routing" / "one-request-a-connection.yaml"


@dataclass(frozen=True)
class TracedBatch:
    """A batch on one route: the far version's answers hop by hop, and whose hops those have to be."""

    route: Route
    sample: Sample
    answers: tuple[Hops, ...]
    server_name: str
    far_gateway: frozenset[str]
    """Where the other network reaches the gateway, address and port."""
    gateway_pods: frozenset[str]
    """The gateway's own pods' addresses."""
    far_pods: frozenset[str]
    """The service's pods in the far cluster, address and port."""
    by_hand: str
    """The command that shows the end of the gateway's log; within a network, of the far pod's sidecar."""
    client_pods: frozenset[str] = frozenset()
    """The client's own addresses; read within a network alone, where a far pod sees them."""


class GatewaySilent(EnvironmentBroke):
    """The far gateway's log says nothing of what passed, or may not be read."""


class GatewayUnreadable(GatewaySilent, AccessLogUnreadable):
    """The far gateway's log has lines about the batch in an unknown format."""


@dataclass(eq=False)
class OneRequestAConnection(IsolatedChange[Mapping[Route, TracedBatch]]):
    """Clients use a connection to one Service for one request alone, and the far version's answers are followed.

    A gateway logs a connection when it ends, and sidecars keep theirs: hence the rule. ``seen`` also raises
    GatewaySilent where that log is of no use, and EnvironmentBroke for a log in no known format, or a pod's without it.
    """

    batches: Mapping[Route, TracedBatch] = field(default_factory=dict, init=False)

    def apply(self, undo: ExitStack) -> None:
        """Apply the rule."""
        self.mesh.apply_rules(_ONE_REQUEST, undo)

    def await_effect(self, cluster: Cluster) -> None:
        """The first requests on connections of before the rule do no harm: gateways log those when they end."""

    def look(self) -> None:
        """Send one batch from each client, and follow the answers while there are all the pods that gave them."""
        begun = Moment.now()
        samples = Sampling(self.mesh).samples(times=_FOLLOWED * len(self.mesh.names), service=workloads.HOPS)
        self.batches = parallel.for_each(
            samples, lambda route: followed(self.mesh, samples[route], begun, service=workloads.HOPS)
        )

    def _seen(self) -> Mapping[Route, TracedBatch]:
        return self.batches


def followed(mesh: Mesh, sample: Sample, begun: Moment, *, service: str = workloads.SERVICE) -> TracedBatch:
    """Read the far logs until each far answer of a sample of a Service is in all of them.

    Within a network no gateway is on the way, and the far pods' logs are all. Raises as ``OneRequestAConnection`` does.
    """
    route, far = sample.route, mesh[sample.route.far]
    version = far.info.version
    answers = [pair for pair in sample.matched.pairs if pair.reply.version == version]
    ids = [pair.reply.request_id for pair in answers[:1]]
    gateways = [
        (cluster, one.pod)
        for cluster in (mesh.sharing_network(far.name) if route.across_networks else ())
        for one in cluster.injected_pods
        if one.is_gateway
    ]
    gateway_logs = [_log_of(cluster.kube, pod) for cluster, pod in gateways]
    name = server_name(mesh.info.namespace, mesh.info.domain, service)
    pod_logs = [_log_of(far.kube, pod) for pod in far.helloworld_pods]
    latest: tuple[Hops, ...] = ()

    def follow_all() -> None:
        nonlocal latest
        latest = follow(
            answers,
            gateway=[line for log in gateway_logs for line in _lines_of_a_gateway(log, begun, name)],
            pods=[line for log in pod_logs for line in log.lines(begun, request_ids=ids)],
            server_name=name,
        )
        ended = [hops.complete if route.across_networks else bool(hops.destination_log) for hops in latest]
        if missing := ended.count(False):
            raise NotYet(f"{missing} of {len(latest)} answers are not in every log")

    with suppress(TimedOut):
        eventually(f"{route}: each answer is in every log", follow_all, within=timeouts().log_flushed)
    gateway_pods = frozenset(str(address["ip"]) for _, pod in gateways for address in pod["status"]["podIPs"])
    if not all(hops.destination_log for hops in latest):
        _require_logged(any(hops.destination_log for hops in latest), pod_logs, begun, AccessLogSilent)
    if any(hops.came_from in gateway_pods and not hops.gateway_log for hops in latest):
        try:
            _require_logged(any(hops.gateway_log for hops in latest), gateway_logs, begun, GatewaySilent)
        except LogRotated as rotated:
            raise GatewaySilent(rotated.what, seen=rotated.seen, next_command=rotated.next_command) from None
    return TracedBatch(
        route,
        sample,
        answers=latest,
        server_name=name,
        far_gateway=mesh.horizon(route.near).ways_to(far.name) if route.across_networks else frozenset(),
        gateway_pods=gateway_pods,
        far_pods=far.helloworld_addresses,
        by_hand=next((log.by_hand for log in (gateway_logs if route.across_networks else pod_logs)), ""),
        client_pods=frozenset() if route.across_networks else mesh[route.near].client_addresses,
    )


def _require_logged(anything: bool, logs: Sequence[ProxyLog], begun: Moment, silent: type[EnvironmentBroke]) -> None:
    """Raise EnvironmentBroke where logs that lack something were rotated, and ``silent`` where they lack it all."""
    for log in logs:
        log.require_whole(begun)
    if not anything:
        raise silent(
            f"{' and '.join(map(str, logs))} holds none of the answers",
            seen="access logging is off there, or goes elsewhere than standard output",
            next_command=logs[0].by_hand,
        )


def _lines_of_a_gateway(log: ProxyLog, begun: Moment, name: str) -> Sequence[AccessLogLine]:
    try:
        return log.lines(begun, about=name, limit=_GATEWAY_LOG)
    except Refused as refused:
        raise GatewaySilent(f"{log} may not be read", seen=refused.seen, next_command=log.by_hand) from None
    except AccessLogUnreadable as unreadable:
        raise GatewayUnreadable(unreadable.what, seen=unreadable.seen, next_command=log.by_hand) from None
    except TooLarge as large:
        what = f"{log} grew by more than {_GATEWAY_LOG >> 20} MiB during the batch: the gateway is busy"
        raise GatewaySilent(what, seen=large.seen, next_command=log.by_hand) from None


def _log_of(kube: Kube, pod: Object) -> ProxyLog:
    return ProxyLog(kube, pod["metadata"]["namespace"], pod["metadata"]["name"])
