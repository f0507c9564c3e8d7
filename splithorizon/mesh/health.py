"""Whether both clients know both versions: a wait before a judgement, never the judgement."""

from __future__ import annotations

from functools import partial

from splithorizon.base import process
from splithorizon.base.errors import TimedOut
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio.topology import Role
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic import workloads

# That all of them go to one of two versions by chance happens once in 10^11.
_REQUESTS = 40
# One would do: there is one version to be answered by.
_AT_HOME = 5


def await_sound(mesh: Mesh) -> None:
    """Wait until a changed mesh is as it was, twice in a row: both clients answered by both versions, and at home.

    Raises EnvironmentBroke where that does not come.
    """
    mesh.await_drained()
    eventually("the mesh is as before the change", partial(_look, mesh), within=timeouts().fault_healed, successes=2)


def is_healthy(mesh: Mesh) -> bool:
    """Whether a mesh is as one expects before a change: one that is not will not be so afterwards either."""
    return _comes_to_be_sound(mesh, within=timeouts().push_acknowledged)


def wait_until_healthy(mesh: Mesh) -> None:
    """Give a new mesh the time to tell both clients of both versions; where it never does, the checks will say so."""
    _comes_to_be_sound(mesh, within=timeouts().endpoints_pushed)


def _comes_to_be_sound(mesh: Mesh, *, within: float) -> bool:
    try:
        eventually("both clients know both versions", partial(_look, mesh), within=within)
    except TimedOut:
        return False
    return True


def _look(mesh: Mesh) -> None:
    process.side_by_side(**{str(role): partial(_ask, mesh, role) for role in Role})


def _ask(mesh: Mesh, role: Role) -> None:
    client = mesh.client(role)
    replies = client.send(times=_REQUESTS)
    versions = sorted({str(reply.version) for reply in replies if reply.answered})
    lost = sum(not reply.answered for reply in replies)
    if lost or len(versions) < len(workloads.VERSION_OF):
        raise NotYet(f"from the {role} {lost} of {len(replies)} not answered, the others by {versions}")
    # istiod may tell of a service that one cluster alone has at another moment than of one that both have.
    at_home = client.send(times=_AT_HOME, service=workloads.helloworld_of(role))
    if lost := sum(not reply.answered for reply in at_home):
        raise NotYet(f"within the {role} {lost} of {len(at_home)} not answered")
