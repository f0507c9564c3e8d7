"""Readiness of pods, with the reason when not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, require_samples
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.kube.pod_status import Readiness

# By the words of the kubelet and the scheduler: reasons of events, of container states and of conditions.
_BY_REASON = {
    "ReadinessGatesNotReady": causes.READINESS_GATE_UNMET,
    "ErrImagePull": causes.IMAGE_NOT_PULLED,
    "ImagePullBackOff": causes.IMAGE_NOT_PULLED,
    "InvalidImageName": causes.IMAGE_NOT_PULLED,
    "CrashLoopBackOff": causes.CONTAINER_CRASHES,
    "OOMKilled": causes.CONTAINER_CRASHES,
    "FailedScheduling": causes.POD_NOT_SCHEDULED,
    "Unschedulable": causes.POD_NOT_SCHEDULED,
    "FailedMount": causes.VOLUME_NOT_MOUNTED,
}


def ready(found: Sequence[Readiness], cluster: str, *, sidecar: bool = False) -> Evidence:
    """Every one is ready with all its containers, and with a sidecar where one belongs."""
    require_samples(found, "pods")
    unready = [one for one in found if not one.ready or (sidecar and not one.sidecar)]
    if unready:
        first = unready[0]
        seen = "; ".join(f"{one.namespace}/{one.name}: {one.reason or 'no sidecar'}" for one in unready[:SHOWN])
        raise CheckFailed(
            "every pod is ready" + (" with its sidecar" if sidecar else ""),
            expected=f"{len(found)} of {len(found)} ready",
            seen=f"{len(found) - len(unready)} ready; {seen}",
            samples=len(found),
            causes=_why_not_injected() if first.ready else _why_unready(first),
            next_command=f"kubectl <{cluster}> -n {first.namespace} describe {first.kind.lower()} {first.name}",
            where=cluster,
        )
    return Evidence(
        "every pod is ready",
        f"{len(found)} of {len(found)} ready",
        {"pods": len(found), "restarts": sum(one.restarts for one in found)},
    )


def kept_running(before: Sequence[Readiness], after: Sequence[Readiness], cluster: str) -> Evidence:
    """The pods from before are still there and ready, and none of their containers was restarted."""
    require_samples(before, "pods")
    now = {one.name: one for one in after}
    fallen = {one: became for one in before if (became := _what_became(one, now.get(one.name)))}
    claim = "istiod kept running"
    if fallen:
        first = next(iter(fallen))
        seen = [f"{one.namespace}/{one.name}: {became}" for one, became in fallen.items()]
        raise CheckFailed(
            claim,
            expected=f"{len(before)} of {len(before)} as before: ready, and not restarted",
            seen="; ".join(seen[:SHOWN]),
            samples=len(before),
            causes=(causes.ISTIOD_CRASHED,) if first.name in now else (causes.ISTIOD_REPLACED,),
            where=cluster,
            next_command=f"kubectl <{cluster}> -n {first.namespace} "
            + (
                f"logs {first.name} --previous --tail 20"
                if first.name in now
                else "get events --sort-by .lastTimestamp"
            ),
        )
    return Evidence(claim, f"{len(before)} of {len(before)} kept running", {"pods": len(before)})


def _why_not_injected() -> tuple[Cause, ...]:
    return (causes.POD_REFUSES_SIDECAR, causes.NAMESPACE_NOT_INJECTED, causes.WEBHOOK_NOT_CALLED)


def _why_unready(unready: Readiness) -> tuple[Cause, ...]:
    """What its reason names; nothing where that holds no word that is known."""
    return tuple(dict.fromkeys(cause for word, cause in _BY_REASON.items() if word in unready.reason))


def _what_became(before: Readiness, after: Readiness | None) -> str:
    """What is otherwise than before; empty where nothing is."""
    if after is None:
        return "another pod took its place"
    if after.restarts > before.restarts:
        return f"restarted {after.restarts - before.restarts} times"
    return "" if after.ready else after.reason or "not ready"


def absent(found: Sequence[Readiness], cluster: str) -> Evidence:
    """A cluster that another cluster's istiod manages runs no istiod."""
    claim = f"the {cluster} cluster runs no istiod"
    if found:
        first = found[0]
        raise CheckFailed(
            claim,
            expected=f"no istiod pod in the {cluster}",
            seen=", ".join(f"{one.namespace}/{one.name}" for one in found[:SHOWN]),
            samples=len(found),
            causes=(causes.PRIMARY_PROFILE_IN_REMOTE,),
            next_command=f"kubectl <{cluster}> -n {first.namespace} get deployments",
            where=cluster,
        )
    return Evidence(claim, f"0 istiod in the {cluster}", {"pods": 0})


def istiod_runs_only_in(pods: Mapping[str, Sequence[Readiness]], control_planes: Collection[str]) -> Evidence:
    """Every istiod pod of the control planes is ready, and no other cluster runs one; ``pods`` is by cluster."""
    require_samples(sorted(control_planes), "clusters that run istiod")
    found = [ready(pods[cluster], cluster) for cluster in control_planes]
    others = [absent(pods[cluster], cluster) for cluster in pods if cluster not in control_planes]
    key_numbers = [one.key_number for one in (*found, *others)]
    return Evidence(
        f"istiod is ready in {' and '.join(control_planes)}, and no other cluster runs one",
        ", ".join(key_numbers),
        {"pods": sum(len(pods[cluster]) for cluster in control_planes)},
    )
