"""Whether every client is answered by every version: a wait before a judgement, never the judgement."""

from __future__ import annotations

from functools import partial

from splithorizon.base import parallel
from splithorizon.base.errors import TimedOut
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.mesh import settling
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic import workloads

# That all of them go to one of two versions by chance happens once in 10^11.
_REQUESTS = 40
# One would do: a single version answers.
_LOCAL_REQUESTS = 5


def await_healthy(mesh: Mesh) -> None:
    """Wait until a changed mesh is healthy again, twice in a row; raises EnvironmentBroke where it is not in time."""
    settling.await_drained(mesh)
    probe = partial(_require_healthy, mesh)
    eventually("the mesh is as before the change", probe, within=timeouts().fault_healed, successes=2)


def is_healthy(mesh: Mesh) -> bool:
    """Whether a mesh is healthy before a change: one that is not will not be so afterwards either."""
    return _becomes_healthy(mesh, within=timeouts().push_acknowledged)


def wait_until_healthy(mesh: Mesh) -> None:
    """Give istiod the time to push every version to every client of a new mesh; where it never does, checks say so."""
    _becomes_healthy(mesh, within=timeouts().endpoints_pushed)


def _becomes_healthy(mesh: Mesh, *, within: float) -> bool:
    try:
        eventually("every client knows every version", partial(_require_healthy, mesh), within=within)
    except TimedOut:
        return False
    return True


def _require_healthy(mesh: Mesh) -> None:
    versions = frozenset(mesh.info.workload_versions.values())
    parallel.for_each(mesh, lambda cluster: _require_answers(cluster, versions))


def _require_answers(cluster: Cluster, expected: frozenset[str]) -> None:
    client = cluster.client
    replies = client.send(times=_REQUESTS)
    versions = {str(reply.version) for reply in replies if reply.answered}
    lost = sum(not reply.answered for reply in replies)
    if lost or not expected <= versions:
        raise NotYet(f"from the {cluster} {lost} of {len(replies)} not answered, the others by {sorted(versions)}")
    # istiod may push single-cluster services later than shared ones.
    local = client.send(times=_LOCAL_REQUESTS, service=workloads.helloworld_of(cluster.info.version))
    if lost := sum(not reply.answered for reply in local):
        raise NotYet(f"within the {cluster} {lost} of {len(local)} not answered")
