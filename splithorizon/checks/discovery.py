"""What istiod has found out, and what it has told the proxies."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fractions import Fraction

from splithorizon import statistics
from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, either, require_samples
from splithorizon.errors import EnvironmentBroke
from splithorizon.observations.chain import Link, Place
from splithorizon.observations.control_plane import Synchronisation
from splithorizon.observations.proxy import Endpoint, share_of
from splithorizon.observations.replies import Reply
from splithorizon.route import Route
from splithorizon.topology import Role
from splithorizon.workloads import VERSION_OF

_ENDPOINTS = (
    "istioctl proxy-config endpoints deploy/sleep -n sample "
    "--cluster 'outbound|5000||helloworld.sample.svc.cluster.local'"
)


def endpoints_split_at_the_horizon(
    endpoints: Sequence[Endpoint],
    route: Route,
    *,
    near_pods: Collection[str],
    far_pods: Collection[str],
    far_gateway: Collection[str],
) -> Evidence:
    """The side-car's endpoints are the near pods and the far network's gateways: no more, no fewer, all healthy."""
    require_samples(sorted(near_pods), f"helloworld pods in the {route.near}")
    require_samples(sorted(far_pods), f"helloworld pods in the {route.far}")
    require_samples(sorted(far_gateway), f"known gateway addresses of the {route.far}")
    claim = f"{route}: the side-car's endpoints are the near pods and the far gateway"
    addresses = {str(endpoint.address) for endpoint in endpoints}
    wanted = {*near_pods, *far_gateway}
    if addresses != wanted or any(endpoint.ailments for endpoint in endpoints):
        raise CheckFailed(
            claim,
            expected=", ".join(sorted(wanted)) + ", all healthy",
            seen=", ".join(map(str, endpoints)) or "no endpoint at all",
            samples=len(endpoints),
            likely_cause=_why_not_split(addresses, near_pods, far_pods, far_gateway),
            next_command=_ENDPOINTS,
        )
    return Evidence(
        claim,
        f"{len(near_pods)} near, {len(far_gateway)} far",
        {"endpoints": len(endpoints)},
        sample_lines=tuple(map(str, endpoints)),
        addresses=tuple(sorted(wanted)),
    )


def weights_follow(
    endpoints: Sequence[Endpoint],
    route: Route,
    *,
    near_pods: Collection[str],
    far_pods: Collection[str],
    far_gateway: Collection[str],
) -> Evidence:
    """The far gateway weighs as much as the pods behind it, in units of a near pod, and near pods weigh the same."""
    require_samples(endpoints, "endpoints of helloworld")
    require_samples(sorted(near_pods), f"helloworld pods in the {route.near}")
    require_samples(sorted(far_pods), f"helloworld pods in the {route.far}")
    claim = f"{route}: the far gateway weighs as much as the pods behind it"
    share, wanted = share_of(far_gateway, endpoints), Fraction(len(far_pods), len(far_pods) + len(near_pods))
    near_weights = {endpoint.weight for endpoint in endpoints if str(endpoint.address) in near_pods}
    if share != wanted or len(near_weights) != 1:
        raise CheckFailed(
            claim,
            expected=f"{wanted} of all weight at {either(far_gateway)}: "
            f"{len(far_pods)} pods are behind it, {len(near_pods)} near",
            seen=", ".join(map(str, endpoints)),
            samples=len(endpoints),
            likely_cause="istiod counts fewer far pods than there are: one without a side-car is not reached "
            "across networks, one is not ready, or its cluster is not synced"
            if share < wanted
            else "istiod counts more far pods than there are, or fewer near ones: a push is late, or pods are not ready"
            if share > wanted
            else "near pods weigh differently: a WorkloadEntry, or a locality, gives one of them a weight of its own",
            next_command=_ENDPOINTS,
        )
    return Evidence(claim, f"{share} by weight", {"share": str(share)}, sample_lines=tuple(map(str, endpoints)))


def answers_follow_weights(
    replies: Sequence[Reply], route: Route, *, near_pods: Collection[str], far_pods: Collection[str]
) -> Evidence:
    """The far version answers as often as its number of pods says, but for one run in a million."""
    answers = [reply.version for reply in replies if reply.version]
    require_samples(answers, "answers")
    require_samples(sorted(near_pods), f"helloworld pods in the {route.near}")
    require_samples(sorted(far_pods), f"helloworld pods in the {route.far}")
    near, far = VERSION_OF[route.near], VERSION_OF[route.far]
    share = Fraction(len(far_pods), len(near_pods) + len(far_pods))
    low, high = statistics.interval(len(answers), float(share))
    if low < 1 or high >= len(answers):
        raise EnvironmentBroke(
            f"{route}: too few answers to tell a missing version from chance", seen=f"{len(answers)} answers"
        )
    count = answers.count(far)
    claim = f"{route}: the far version answers as often as it has pods"
    numbers: dict[str, float | str] = {
        "answers": len(answers),
        far: count,
        "share": str(share),
        "p_value": statistics.p_value(count, len(answers), float(share)),
        "false_alarm": statistics.FALSE_ALARM,
    }
    if not low <= count <= high:
        raise CheckFailed(
            claim,
            expected=f"{low} to {high} of {len(answers)} answers from {far}: {len(far_pods)} pods, {len(near_pods)} of "
            f"{near} (exact binomial, false alarm {statistics.FALSE_ALARM:g})",
            seen=f"{count} from {far}",
            samples=len(answers),
            likely_cause="the side-car balances without weights: a DestinationRule with RANDOM or a consistent hash"
            if 0 < count < len(answers)
            else "one network gives no answer at all, or a locality is preferred",
            next_command="kubectl get destinationrules -A -o yaml",
            numbers=numbers,
        )
    return Evidence(claim, f"{far} {count} of {len(answers)}", numbers, expected_interval=(low, high))


def naming_chain_is_whole(chain: Sequence[Link], role: Role) -> Evidence:
    """Every place that names a cluster, or its network, gives it the one name that it has to have."""
    require_samples(chain, f"links of the {role}'s configuration")
    claim = f"{role}: every link from the network's label to istiod's gateways agrees"
    table = tuple(map(str, chain))
    broken = [link for link in chain if not link.whole]
    if broken:
        first, *others = broken
        seen = f"{first}"
        if others:
            shown = "; ".join(map(str, others[:SHOWN]))
            seen += f"; {len(others)} more after it: {shown}{' …' if len(others) > SHOWN else ''}"
        raise CheckFailed(
            claim,
            expected=f"{first.place}, {first.of}: {first.expected or 'a name'}",
            seen=seen,
            samples=len(chain),
            likely_cause=_why_broken(first),
            next_command="istioctl x internal-debug networkz",
            numbers={f"{link.place}, {link.of}": link.seen for link in chain},
        )
    return Evidence(claim, f"{len(chain)} links", {"links": len(chain)}, sample_lines=table)


def every_proxy_synced(state: Synchronisation, role: Role) -> Evidence:
    """Each proxy is connected to an istiod, and has accepted the latest of every kind that it was sent."""
    require_samples(state.wanted, f"proxies in the {role}")
    claim = f"{role}: every proxy has accepted all that istiod sent it"
    absent = sorted(set(state.wanted) - {one.proxy for one in state.found})
    lagging = [f"{one.proxy}: {', '.join(one.unacknowledged)}" for one in state.found if one.unacknowledged]
    if absent or lagging:
        kinds = {"not connected": absent, "not accepted": lagging}
        refused = {
            f"{proxy} {name}": count for proxy, counts in state.refused.items() for name, count in counts.items()
        }
        raise CheckFailed(
            claim,
            expected=f"{len(state.wanted)} proxies connected, and no push that is not accepted",
            seen="; ".join(f"{what}: {', '.join(names[:SHOWN])}" for what, names in kinds.items() if names)
            + (f"; refused: {', '.join(sorted(refused))}" if refused else ""),
            samples=len(state.found),
            likely_cause="istiod refuses the proxy (its cluster id is not a remote secret's), or it cannot be reached"
            if absent
            else "Envoy refused what it was sent: its own log says why (an EnvoyFilter, a duplicate filter chain)"
            if refused
            else "the proxy is overloaded or its connection hangs: the push is sent and not answered",
            next_command="istioctl proxy-status",
            numbers=refused,
        )
    return Evidence(claim, f"{len(state.found)} synced", {"proxies": len(state.found)}, sample_lines=state.wanted)


def _why_broken(link: Link) -> str:
    match link.place:
        case Place.NAMESPACE:
            return "the system namespace lost its topology.istio.io/network label, or never had it"
        case Place.MESH_NETWORKS:
            return "meshNetworks has no such fromRegistry (it must be the cluster's id), or another gateway address"
        case Place.SERVICE:
            return "the gateway's Service lost its network label or port 15443, or its address is another one"
        case Place.POD_LABEL:
            return "the pod was injected before its network was known, or relabelled: restart it"
        case Place.POD_NETWORK:
            return "the injection webhook's path names another network, or the pod is older than its setting"
        case Place.POD_CLUSTER:
            return "the injection webhook's path names another cluster than the remote secret's data key"
        case Place.REMOTE_KUBECONFIG:
            return "the remote secret is missing, or its data key is not the id that the remote's proxies tell"
        case Place.CLUSTERS:
            return "istiod does not watch the cluster: its remote secret is missing or refused"
        case Place.GATEWAYS:
            return "istiod found no gateway of the network, or another address: cluster not synced, or Service pending"


def _why_not_split(
    addresses: Collection[str], near_pods: Collection[str], far_pods: Collection[str], far_gateway: Collection[str]
) -> str:
    held = set(addresses)
    if not held:
        return "the side-car has not heard of the service: its namespace is not exported to it, or no push reached it"
    if strange := held - {*near_pods, *far_pods, *far_gateway}:
        return f"istiod tells of {either(strange)}: another gateway address, another workload, or a pod that is gone"
    if held & set(far_pods):
        return (
            "istiod knows no network of the far pods, or no gateway of it, and hands out pod addresses of the other "
            "network (no topology.istio.io/network label on the gateway's Service, no meshNetworks)"
        )
    if not held & set(far_gateway):
        return "istiod does not see the other cluster: its remote secret is missing or refused"
    if not held & set(near_pods):
        return "istiod does not see the client's own cluster: its remote secret is missing or refused"
    if held != {*near_pods, *far_gateway}:
        return "not every pod or gateway address has reached the side-car: a push is late, or a pod is not ready"
    return "the side-car found an endpoint unhealthy: ejected after failures, or not ready"
