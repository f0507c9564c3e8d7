"""Whether a mesh that was changed is as it was: a wait, never a judgement."""

from __future__ import annotations

from splithorizon import workloads
from splithorizon.durations import current as durations
from splithorizon.mesh.model import Mesh
from splithorizon.route import ROUTES
from splithorizon.waiting import NotYet, eventually

_REQUESTS = 40


def await_sound(mesh: Mesh) -> None:
    """Wait until both clients are answered by both versions, twice in a row; raises EnvironmentBroke."""
    eventually("the mesh is as before the change", lambda: _look(mesh), within=durations().fault_healed, successes=2)


def _look(mesh: Mesh) -> None:
    for route in ROUTES:
        replies = mesh.sample(route, times=_REQUESTS).replies
        versions = sorted({str(reply.version) for reply in replies if reply.answered})
        lost = sum(not reply.answered for reply in replies)
        if lost or len(versions) < len(workloads.VERSION_OF):
            raise NotYet(f"{route}: {lost} of {len(replies)} not answered, the others by {versions}")
