"""What a network's gateway does with requests from other networks."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from splithorizon.checks.judging import CheckFailed, Evidence, either, require_samples
from splithorizon.checks.next_steps import gateway_listeners_of
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.topology import Route
from splithorizon.traffic.gateway_stats import GatewayStats


def gateway_passes_to_own_pods(
    stats: GatewayStats, route: Route, *, own_pods: Collection[str], own_versions: Collection[str], shared: bool
) -> Evidence:
    """Requests for the service come through the far gateway under its name, and go to pods of its network alone.

    Each gateway of the network has to know all of those pods, whichever the batch went through.
    ``shared`` where others use the gateway too: it may then reject connections of other clients, as long as answers
    come back.
    """
    require_samples(stats.replies, "requests")
    require_samples(sorted(own_pods), f"helloworld pods in the {route.far}")
    far = sum(reply.version in own_versions for reply in stats.replies)
    counts = stats.counts
    claim = f"{route}: the far gateway passes the service's connections to its own pods"
    came_back = bool(far and counts.passed)
    turned_away = bool(counts.turned_away) and not (shared and came_back)
    own = frozenset(own_pods)
    wrong = {gateway: found for gateway, found in stats.upstreams.items() if found != own}
    goes = "; ".join(f"with {gateway} it goes to {either(found)}" for gateway, found in wrong.items())
    if wrong or not stats.upstreams or turned_away or not came_back:
        raise CheckFailed(
            claim,
            expected=f"{stats.server_name} goes to {either(own_pods)}, and no connection is turned away",
            seen=f"{goes or 'it goes there'}; {counts.passed} bytes came through, {far} answers, "
            f"{counts.turned_away} connections turned away (NR)",
            samples=len(stats.replies),
            causes=_why_not_passed(stats, wrong, own),
            next_command=gateway_listeners_of(route.far),
            where=route,
            numbers={"passed_bytes": counts.passed, "turned_away": counts.turned_away},
        )
    return Evidence(
        claim,
        f"{counts.passed} bytes, {far} answers",
        {"passed_bytes": counts.passed, "turned_away": counts.turned_away, "answers": far},
        sample_lines=(stats.server_name,),
        addresses=tuple(sorted(own_pods)),
    )


def _why_not_passed(
    stats: GatewayStats, wrong: Mapping[str, frozenset[str]], own_pods: frozenset[str]
) -> tuple[Cause, ...]:
    if any(not found for found in wrong.values()):
        return (causes.SERVICE_NOT_EXPORTED,)
    if any(found - own_pods for found in wrong.values()):
        return (causes.GATEWAY_HAIRPIN, causes.STALE_ENDPOINT)
    if stats.counts.turned_away:
        return (causes.SERVICES_NOT_EXPOSED,)
    if not stats.counts.passed:
        return (causes.SERVICES_NOT_EXPOSED, causes.GATEWAY_ADDRESS_WRONG, causes.GATEWAY_BYPASSED)
    if not wrong:
        return (causes.POLICY_DENIES, causes.PODS_NOT_SERVING)
    return (causes.PUSH_LATE, causes.POD_NOT_READY)
