"""What istiod has found out, and what it has told the proxies."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, either, require_samples
from splithorizon.observations.chain import Link, Place
from splithorizon.observations.control_plane import Synchronisation
from splithorizon.observations.proxy import Endpoint
from splithorizon.route import Route
from splithorizon.topology import Role

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
            "istiod does not know the far pods' network or no gateway of it, and hands out pod addresses of the other "
            "network (no topology.istio.io/network label on the gateway's Service, no meshNetworks)"
        )
    if not held & set(far_gateway):
        return "istiod does not see the other cluster: its remote secret is missing or refused"
    if not held & set(near_pods):
        return "istiod does not see the client's own cluster: its remote secret is missing or refused"
    if held != {*near_pods, *far_gateway}:
        return "not every pod or gateway address has reached the side-car: a push is late, or a pod is not ready"
    return "the side-car found an endpoint unhealthy: ejected after failures, or not ready"
