"""Whether a cluster is as it was before anything was installed."""

from __future__ import annotations

from splithorizon.checks.judging import CheckFailed, Evidence
from splithorizon.errors import EnvironmentBroke
from splithorizon.mesh.uninstallation import Remains
from splithorizon.topology import Role

_SHOWN = 8


def as_before_installation(remains: Remains) -> Evidence:
    """A cluster holds each object that it held before, none beside them, and none says anything else."""
    if not remains.objects:
        raise EnvironmentBroke(f"nothing is known of the {remains.role} before the installation", seen="0 objects")
    claim = f"the {remains.role} is as it was before Istio came"
    found = remains.differences
    if found:
        more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        raise CheckFailed(
            claim,
            expected=f"its {remains.objects} objects of before and no others, within {remains.within:g} s",
            seen="; ".join([*found[:_SHOWN], *more]),
            samples=remains.objects,
            likely_cause=_cause(remains),
            next_command=_look_at(found[0], remains.role),
            numbers={"objects": remains.objects, "differences": len(found)},
        )
    return Evidence(
        claim=claim,
        key_number=f"{remains.objects} objects as before",
        numbers={"objects": remains.objects, "differences": 0},
    )


def _cause(remains: Remains) -> str:
    if remains.stuck:
        return f"a finalizer whose controller is gone keeps it: {'; '.join(remains.stuck)}"
    if remains.going:
        return f"a namespace was not emptied in time, or holds what cannot be deleted: {', '.join(remains.going)}"
    if any(found.startswith("left: ") for found in remains.differences):
        return (
            "something else than istioctl made it, so that purging does not know it: an earlier installation, "
            "another revision, Helm, a hand; or an istiod elsewhere still watches this cluster and makes it again"
        )
    return "the installation changed what was there before it, and nothing changes it back"


def _look_at(difference: str, role: Role) -> str:
    _, _, name = difference.partition(": ")
    kind, _, path = name.partition(" ")
    namespace, _, plain = path.rpartition("/")
    return " ".join([f"kubectl <{role}>", *(["-n", namespace] if namespace else []), "get", kind, plain, "-o yaml"])
