"""A rule in one of several primaries, and what every client of the mesh is answered while it is there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from splithorizon.base import parallel
from splithorizon.base.errors import TimedOut
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube import manifests
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic.requests import Reply
from splithorizon.undo import mutations

STATUS = 418
"""What the rule answers: helloworld answers nothing of the kind."""
_RULE = MANIFESTS / "routing" / "answered-by-a-rule.yaml"
# The rule answers each of them or none: a few would do.
_REQUESTS = 20


@dataclass(frozen=True)
class BoundClients:
    """The replies that each cluster's client got, by the cluster's name, while a rule was in one primary alone."""

    primary: str
    managed: frozenset[str]
    """The clusters whose clients the istiod of that primary manages."""
    replies: Mapping[str, tuple[Reply, ...]]


def bind(mesh: Mesh, primary: Cluster, undo: ExitStack, *, times: int) -> BoundClients:
    """Apply the rule in one primary until the undo, wait until it binds, and send one batch from every client."""
    mutations.apply(primary.kube, manifests.load(_RULE), mesh.info.namespace, undo)
    managed = frozenset(cluster.name for cluster in mesh.info.managed_by(primary.name))
    parallel.for_each(managed, lambda name: _await_bound(mesh[name]))
    replies = parallel.for_each(mesh.names, lambda name: tuple(mesh[name].client.send(times=times)))
    return BoundClients(primary.name, managed, replies)


def _await_bound(cluster: Cluster) -> None:
    """Return all the same when the time is up: whether it binds is for the check to say."""
    client = cluster.client

    def bound() -> None:
        if left := sum(reply.status != STATUS for reply in client.send(times=_REQUESTS)):
            raise NotYet(f"{left} of {_REQUESTS} not answered by the rule")

    with suppress(TimedOut):
        eventually(f"the rule binds the client of {cluster}", bound, within=timeouts().policy_enforced)
