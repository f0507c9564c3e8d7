"""Waits before a judgement, never the judgement: until every proxy is connected, and until none drains."""

from __future__ import annotations

from contextlib import suppress

from splithorizon.base import parallel
from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube.pod_exec import NotPermitted
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.config_chain import Injected
from splithorizon.mesh.mesh import Mesh


def await_connected(mesh: Mesh) -> None:
    """Wait until every proxy is connected to an istiod; return all the same when the time is up.

    istiod can push to connected proxies only, and it authenticates those of a watched cluster by the remote secret.
    Nothing is waited for where no istiod can be asked.
    """
    if not mesh.istiods:
        return
    wanted = {one.proxy.name for cluster in mesh for one in cluster.injected_pods}

    def connected() -> None:
        found: frozenset[str] = frozenset().union(*(istiod.connected(wanted) for istiod in mesh.istiods.values()))
        if absent := wanted - found:
            raise NotYet(f"not connected: {', '.join(sorted(absent))}")

    with suppress(TimedOut):
        eventually("every proxy is connected to istiod", connected, within=timeouts().proxies_connected)


def await_drained(mesh: Mesh) -> None:
    """Wait until no proxy drains listeners or filter chains; return all the same when the time is up.

    A request that is sent on a draining connection at the moment of its end is lost: Envoy does not send it again.
    """

    def drained() -> None:
        try:
            left = sum(parallel.for_each(mesh, _draining).values())
        except EnvironmentBroke as unanswered:
            raise NotYet(str(unanswered)) from None
        if left:
            raise NotYet(f"{left} listeners and filter chains are draining")

    with suppress(TimedOut):
        eventually("every proxy has drained", drained, within=timeouts().drained)


def _draining(cluster: Cluster) -> int:
    return sum(map(_draining_of, cluster.injected_pods))


def _draining_of(one: Injected) -> int:
    try:
        return one.proxy.draining
    except NotPermitted:
        # No run begins where its own pods may not be asked; a gateway that may not be is not waited for.
        if not one.is_gateway:
            raise
        return 0
