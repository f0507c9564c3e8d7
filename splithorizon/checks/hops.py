"""By which proxies an answer came, one after the other."""

from __future__ import annotations

from collections import Counter

from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, either, require_samples
from splithorizon.checks.matched import every_reply_matched
from splithorizon.checks.next_steps import endpoints_of
from splithorizon.checks.suspects import far_pods_dialled, far_version_missing, near_version_missing
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.info import NetworkMode
from splithorizon.mesh.traced_batch import TracedBatch
from splithorizon.traffic.trace import Hops


def each_hop_leads_to_the_next(crossing: TracedBatch, *, mode: NetworkMode) -> Evidence:
    """Every far answer was logged by the near sidecar, the far gateway and the far pod, one leading to the next.

    Within one network the far pod takes it from the client's own address, with nothing between them.
    """
    route = crossing.route
    if not route.across_networks:
        return _each_leads_from_pod_to_pod(crossing)
    require_samples(sorted(crossing.gateway_pods), f"pods of the {route.far}'s gateway")
    require_samples(sorted(crossing.far_pods), f"helloworld pods in the {route.far}")
    every_reply_matched(crossing.sample.matched, route)
    strayed = [(flaw, hops) for hops in crossing.answers if (flaw := _flaw(hops, crossing))]
    if strayed or not crossing.answers:
        kinds = Counter(flaw for flaw, _ in strayed)
        seen = "; ".join(f"{count} x {flaw}" for flaw, count in kinds.most_common(SHOWN))
        raise CheckFailed(
            f"{route}: each hop of a far answer leads to the next",
            expected=f"each through {either(crossing.far_gateway)}, passed on by {either(crossing.gateway_pods)} "
            f"under {crossing.server_name}, to {either(crossing.far_pods)}",
            seen=f"of {len(crossing.answers)} far answers {seen}" if seen else "no answer from the far version",
            samples=len(crossing.answers) or crossing.sample.matched.requests,
            causes=_why_astray(strayed[0][1], crossing, mode) if strayed else far_version_missing(mode),
            next_command=crossing.by_hand if strayed else endpoints_of(route.near),
            where=route,
            numbers={"answers": len(crossing.answers), "strayed": len(strayed)},
        )
    one = crossing.answers[0]
    connections = {hops.gateway_log.raw for hops in crossing.answers if hops.gateway_log}
    return Evidence(
        f"{route}: each hop of a far answer leads to the next",
        f"{len(crossing.answers)} in 3 logs each",
        {
            "answers": len(crossing.answers),
            "connections": len(connections),
            "source_ports_rewritten": sum(hops.rewritten for hops in crossing.answers),
        },
        sample_lines=tuple(line.raw for line in (one.source_log, one.gateway_log, *one.destination_log) if line),
        addresses=(*sorted(crossing.far_gateway), *sorted(crossing.gateway_pods), *sorted(crossing.far_pods)),
    )


def _each_leads_from_pod_to_pod(crossing: TracedBatch) -> Evidence:
    """Every answer of the other cluster was logged by the client's sidecar and by the pod, which saw the client."""
    route = crossing.route
    require_samples(sorted(crossing.far_pods), f"helloworld pods in the {route.far}")
    require_samples(sorted(crossing.client_pods), f"addresses of the client in the {route.near}")
    every_reply_matched(crossing.sample.matched, route)
    claim = f"{route}: each answer goes from pod to pod"
    strayed = [flaw for hops in crossing.answers if (flaw := _flaw_within(hops, crossing))]
    if strayed or not crossing.answers:
        kinds = Counter(strayed)
        seen = "; ".join(f"{count} x {flaw}" for flaw, count in kinds.most_common(SHOWN))
        raise CheckFailed(
            claim,
            expected=f"each straight at {either(crossing.far_pods)}, and from {either(crossing.client_pods)} there",
            seen=f"of {len(crossing.answers)} answers {seen}" if seen else "no answer from the other cluster",
            samples=len(crossing.answers) or crossing.sample.matched.requests,
            causes=() if strayed else near_version_missing(),
            next_command=crossing.by_hand if strayed else endpoints_of(route.near),
            where=route,
            numbers={"answers": len(crossing.answers), "strayed": len(strayed)},
        )
    one = crossing.answers[0]
    return Evidence(
        claim,
        f"{len(crossing.answers)} in 2 logs each",
        {"answers": len(crossing.answers)},
        sample_lines=tuple(line.raw for line in (one.source_log, *one.destination_log)),
        addresses=(*sorted(crossing.client_pods), *sorted(crossing.far_pods)),
    )


def _flaw_within(hops: Hops, crossing: TracedBatch) -> str:
    if hops.source_log.upstream_host not in crossing.far_pods:
        return f"sent to {hops.source_log.upstream_host}"
    if len(hops.destination_log) != 1:
        return f"logged {len(hops.destination_log)} times by pods of the {crossing.route.far}"
    if hops.came_from not in crossing.client_pods:
        return f"came to the pod from {hops.came_from}"
    return ""


def _flaw(hops: Hops, crossing: TracedBatch) -> str:
    """What an answer's lines say that they should not, at the first hop that strays; empty where none does."""
    source_log, gateway_log, destination_log = hops.source_log, hops.gateway_log, hops.destination_log
    if source_log.upstream_host not in crossing.far_gateway:
        return f"sent to {source_log.upstream_host}"
    if len(destination_log) != 1:
        return f"logged {len(destination_log)} times by pods of the {crossing.route.far}"
    if gateway_log is None:
        return f"came to the pod from {hops.came_from}, and no gateway logged it"
    if gateway_log.requested_server_name != crossing.server_name or gateway_log.response_flags:
        return f"passed under {gateway_log.requested_server_name} ({gateway_log.response_flags or '-'})"
    if gateway_log.upstream_host not in crossing.far_pods:
        return f"passed on to {gateway_log.upstream_host}"
    return ""


def _why_astray(hops: Hops, crossing: TracedBatch, mode: NetworkMode) -> tuple[Cause, ...]:
    if hops.source_log.upstream_host in crossing.far_pods:
        return far_pods_dialled(mode)
    if hops.source_log.upstream_host not in crossing.far_gateway:
        return (causes.GATEWAY_ADDRESS_WRONG, causes.POD_FORWARDS, causes.FAR_VERSION_RUNS_NEAR)
    if not hops.destination_log:
        return (causes.REQUEST_ID_CHANGED, causes.STRANGE_POD)
    if len(hops.destination_log) > 1:
        return (causes.REQUEST_SENT_AGAIN,)
    if hops.gateway_log is None and hops.came_from not in crossing.gateway_pods:
        return (causes.GATEWAY_BYPASSED,)
    if hops.gateway_log is None:
        return (causes.GATEWAY_LOG_INCOMPLETE,)
    if hops.gateway_log.response_flags:
        return (causes.GATEWAY_CONNECTION_BROKEN,)
    if hops.gateway_log.requested_server_name != crossing.server_name:
        return (causes.GATEWAY_NAME_CHANGED,)
    return (causes.GATEWAY_HAIRPIN,)
