"""Whether every client is answered by every version: a wait before a judgement, never the judgement."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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


def is_healthy(mesh: Mesh, *, patiently: bool = True) -> bool:
    """Whether a mesh is healthy before a change: one that is not will not be so afterwards either.

    A push may be on its way, which is waited for; not so where the mesh is known to be broken, without ``patiently``.
    """
    return _becomes_healthy(mesh, within=timeouts().push_acknowledged if patiently else 0)


def wait_until_healthy(mesh: Mesh) -> None:
    """Give istiod the time to push every version to every client of a new mesh; where it never does, checks say so.

    A mesh that answers the same for a while goes on to do so, and is not waited for any longer.
    """
    _becomes_healthy(mesh, within=timeouts().endpoints_pushed, unchanged=timeouts().healthy_or_not)


class Lacking(NotYet):
    """What a client is not answered: ``state`` is the same as long as nothing changes but numbers."""

    def __init__(self, observation: str, state: str) -> None:
        """Keep what was seen, and the same without numbers."""
        super().__init__(observation)
        self.state = state


class Stays(Exception):
    """The mesh has answered the same for a while."""


def _becomes_healthy(mesh: Mesh, *, within: float, unchanged: float | None = None) -> bool:
    probe = partial(_require_healthy, mesh)
    try:
        eventually(
            "every client knows every version", probe if unchanged is None else steady(probe, unchanged), within=within
        )
    except (TimedOut, Stays):
        return False
    return True


def steady(
    probe: Callable[[], None], unchanged: float, *, clock: Callable[[], float] = time.monotonic
) -> Callable[[], None]:
    """The probe, which raises Stays once it has raised the same Lacking for ``unchanged`` seconds."""
    last, since = "", clock()

    def attempt() -> None:
        nonlocal last, since
        try:
            probe()
        except Lacking as lacking:
            if lacking.state != last:
                last, since = lacking.state, clock()
            elif clock() - since >= unchanged:
                raise Stays from None
            raise

    return attempt


def _require_healthy(mesh: Mesh) -> None:
    seen = parallel.for_each(mesh, lambda cluster: _lacking(cluster, mesh.version_groups(cluster.name))).values()
    if lacking := [one for one in seen if one]:
        raise Lacking("; ".join(map(str, lacking)), "; ".join(one.state for one in lacking))


def _lacking(cluster: Cluster, expected: Sequence[frozenset[str]]) -> Lacking | None:
    """What a client is not answered, of the groups of versions of which one has to answer."""
    client = cluster.client
    replies = client.send(times=_REQUESTS)
    versions = {str(reply.version) for reply in replies if reply.answered}
    lost = sum(not reply.answered for reply in replies)
    if lost or not all(group & versions for group in expected):
        by = sorted(versions)
        return Lacking(
            f"from the {cluster} {lost} of {len(replies)} not answered, the others by {by}",
            f"{cluster}: {bool(lost)}, {by}",
        )
    # istiod may push single-cluster services later than shared ones.
    local = client.send(times=_LOCAL_REQUESTS, service=workloads.helloworld_of(cluster.info.version))
    if lost := sum(not reply.answered for reply in local):
        return Lacking(f"within the {cluster} {lost} of {len(local)} not answered", f"within {cluster}")
    return None
