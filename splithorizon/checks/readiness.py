"""Readiness of pods, with the reason when not."""

from __future__ import annotations

from collections.abc import Sequence

from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, require_samples
from splithorizon.readiness import Readiness
from splithorizon.topology import Role


def ready(found: Sequence[Readiness], role: Role, *, sidecar: bool = False) -> Evidence:
    """Every one is ready with all its containers, and with a side-car where one belongs."""
    require_samples(found, "pods")
    unready = [one for one in found if not one.ready or (sidecar and not one.sidecar)]
    if unready:
        first = unready[0]
        seen = "; ".join(f"{one.namespace}/{one.name}: {one.reason or 'no side-car'}" for one in unready[:SHOWN])
        raise CheckFailed(
            "every pod is ready" + (" with its side-car" if sidecar else ""),
            expected=f"{len(found)} of {len(found)} ready",
            seen=f"{len(found) - len(unready)} ready; {seen}",
            samples=len(found),
            likely_cause="injection did not happen: the webhook or the namespace's label"
            if first.ready
            else "the first bad event or container state above",
            next_command=f"kubectl <{role}> -n {first.namespace} describe {first.kind.lower()} {first.name}",
        )
    return Evidence(
        "every pod is ready",
        f"{len(found)} of {len(found)} ready",
        {"pods": len(found), "restarts": sum(one.restarts for one in found)},
    )


def stood(before: Sequence[Readiness], after: Sequence[Readiness]) -> Evidence:
    """The pods of before are still there and ready, and none of their containers was started anew meanwhile."""
    require_samples(before, "pods")
    now = {one.name: one for one in after}
    fallen = {one: became for one in before if (became := _what_became(one, now.get(one.name)))}
    claim = "istiod stood all the while"
    if fallen:
        first = next(iter(fallen))
        told = [f"{one.namespace}/{one.name}: {became}" for one, became in fallen.items()]
        raise CheckFailed(
            claim,
            expected=f"{len(before)} of {len(before)} as before: ready, and not started anew",
            seen="; ".join(told[:SHOWN]),
            samples=len(before),
            likely_cause="istiod fell over what it was told, or over the memory that it took",
            next_command=f"kubectl <{Role.PRIMARY}> -n {first.namespace} "
            + (
                f"logs {first.name} --previous --tail 20"
                if first.name in now
                else "get events --sort-by .lastTimestamp"
            ),
        )
    return Evidence(claim, f"{len(before)} of {len(before)} stood", {"pods": len(before)})


def _what_became(before: Readiness, after: Readiness | None) -> str:
    """What is otherwise than before; empty where nothing is."""
    if after is None:
        return "another pod took its place"
    if after.restarts > before.restarts:
        return f"started anew {after.restarts - before.restarts} times"
    return "" if after.ready else after.reason or "not ready"


def absent(found: Sequence[Readiness]) -> Evidence:
    """There is none of them."""
    if found:
        first = found[0]
        raise CheckFailed(
            "the remote cluster runs no control plane of its own",
            expected="no istiod pod in the remote",
            seen=", ".join(f"{one.namespace}/{one.name}" for one in found[:SHOWN]),
            samples=len(found),
            likely_cause="a primary profile was installed into the remote",
            next_command=f"kubectl <{Role.REMOTE}> -n {first.namespace} get deployments",
        )
    return Evidence("the remote cluster runs no control plane of its own", "0 istiod in the remote", {"pods": 0})
