"""Whether a cluster is as it was before anything was installed."""

from __future__ import annotations

from collections.abc import Sequence

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks.judging import CheckFailed, Evidence
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.remains import LEFT, LEFT_IN, SEPARATOR
from splithorizon.mesh.snapshot import Remains

_SHOWN = 8
# Before the name of what was not there before.
_LEFT = "left: "


def as_before_installation(remains: Remains) -> Evidence:
    """A cluster holds each object that it held before, none beside them, and none says anything else."""
    if not remains.objects:
        raise EnvironmentBroke(f"nothing is known of the {remains.cluster} before the installation", seen="0 objects")
    claim = f"the {remains.cluster} is as it was before Istio came"
    found = remains.differences
    if found:
        more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        raise CheckFailed(
            claim,
            expected=f"its {remains.objects} objects of before and no others, within {remains.within:g} s",
            seen="; ".join([*found[:_SHOWN], *more, *remains.stuck]),
            samples=remains.objects,
            causes=_why_left(remains),
            next_command=_look_at(found[0], remains.cluster),
            where=remains.cluster,
            numbers={"objects": remains.objects, "differences": len(found), **_left(remains)},
        )
    return Evidence(
        claim=claim,
        key_number=f"{remains.objects} objects as before",
        numbers={"objects": remains.objects, "differences": 0},
    )


def every_cluster_as_before(remains: Sequence[Remains]) -> Evidence:
    """The same of every cluster of a mesh."""
    if not remains:
        raise EnvironmentBroke("nothing is known of any cluster before the installation", seen="0 clusters")
    found = [as_before_installation(one) for one in remains]
    objects = sum(one.objects for one in remains)
    return Evidence(
        claim="; ".join(one.claim for one in found),
        key_number=f"{objects} objects as before",
        numbers={"objects": objects, "differences": 0},
    )


def _left(remains: Remains) -> dict[str, str]:
    """What the diagnosis reads: the first objects that are left, and where."""
    left = [found.removeprefix(_LEFT) for found in remains.differences if found.startswith(_LEFT)]
    return {LEFT_IN: remains.cluster, LEFT: SEPARATOR.join(left[:_SHOWN])} if left else {}


def _why_left(remains: Remains) -> tuple[Cause, ...]:
    if remains.stuck:
        return (causes.FINALIZER_WITHOUT_CONTROLLER,)
    if remains.going:
        return (causes.NAMESPACE_NOT_EMPTIED,)
    if any(found.startswith(_LEFT) for found in remains.differences):
        return (causes.INSTALLED_BY_OTHER_MEANS, causes.ISTIOD_ELSEWHERE)
    return (causes.CHANGED_BY_INSTALLATION,)


def _look_at(difference: str, cluster: str) -> str:
    _, _, name = difference.partition(": ")
    kind, _, path = name.partition(" ")
    namespace, _, plain = path.rpartition("/")
    return " ".join([f"kubectl <{cluster}>", *(["-n", namespace] if namespace else []), "get", kind, plain, "-o yaml"])
