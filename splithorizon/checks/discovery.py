"""What istiod knows of the mesh, and what it has sent to the proxies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from ipaddress import ip_address
from urllib.parse import urlsplit

from splithorizon.base import statistics
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, either, require_samples
from splithorizon.checks.next_steps import endpoints_of, remote_clusters_of
from splithorizon.checks.suspects import far_pods_dialled, far_version_missing, near_version_missing
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.horizon import Horizon
from splithorizon.istio.info import Address, NetworkMode
from splithorizon.istio.topology import Route, Watch
from splithorizon.istio.versions import counted
from splithorizon.mesh.config_chain import GATEWAYS, Setting, Source
from splithorizon.traffic.istiod import RemoteSecret, Synchronisation, WatchedCluster
from splithorizon.traffic.proxy import Endpoint, share_of
from splithorizon.traffic.requests import Reply

_SYNCED = "synced"


def endpoints_split_at_the_horizon(endpoints: Sequence[Endpoint], route: Route, *, horizon: Horizon) -> Evidence:
    """The sidecar's endpoints are the pods of its network and the gateways of every other: no more, no fewer, healthy.

    Every one of them is judged, whatever the route; that says whose pods and gateway have to be there at all.
    """
    _require_both_ends(route, horizon)
    near_pods, far_pods, far_gateway = horizon.near_pods, horizon.far_pods, horizon.far_gateways
    claim = f"{route}: the sidecar's endpoints are the near pods and the far gateway"
    addresses = {str(endpoint.address) for endpoint in endpoints}
    wanted = {*near_pods, *far_gateway}
    if addresses != wanted or any(endpoint.health_flags for endpoint in endpoints):
        raise CheckFailed(
            claim,
            expected=", ".join(sorted(wanted)) + ", all healthy",
            seen=", ".join(map(str, endpoints)) or "no endpoint at all",
            samples=len(endpoints),
            causes=_why_not_split(addresses, near_pods, far_pods, far_gateway, horizon.mode),
            next_command=endpoints_of(route.near),
            where=route,
        )
    return Evidence(
        claim,
        f"{len(near_pods)} near, {len(far_gateway)} far",
        {"endpoints": len(endpoints)},
        sample_lines=tuple(map(str, endpoints)),
        addresses=tuple(sorted(wanted)),
    )


def weights_follow(endpoints: Sequence[Endpoint], route: Route, *, horizon: Horizon) -> Evidence:
    """The far gateway weighs as much as the pods behind it, in units of a near pod, and near pods weigh the same.

    Gateways that stand for the pods of different clusters each weigh as much as those pods.
    """
    require_samples(endpoints, "endpoints of helloworld")
    _require_both_ends(route, horizon)
    claim = f"{route}: the far gateway weighs as much as the pods behind it"
    pods = len(horizon.near_pods) + len(horizon.far_pods)
    shares = [
        (share_of(one.addresses, endpoints), Fraction(one.pods, pods), one)
        for one in horizon.endpoint_groups
        if {*one.clusters} & {*horizon.sharing(route.far)}
    ]
    near_weights = {endpoint.weight for endpoint in endpoints if str(endpoint.address) in horizon.near_pods}
    # The one that differs; where none does, the far cluster's.
    share, wanted, group = min(shares, key=lambda found: (found[0] == found[1], route.far not in found[2].clusters))
    if share != wanted or len(near_weights) != 1:
        raise CheckFailed(
            claim,
            expected=f"{wanted} of all weight at {either(group.addresses)}: "
            f"{group.pods} pods are behind it, {len(horizon.near_pods)} near",
            seen=", ".join(map(str, endpoints)),
            samples=len(endpoints),
            causes=_why_not_weighted(share, wanted),
            next_command=endpoints_of(route.near),
            where=route,
        )
    return Evidence(claim, f"{share} by weight", {"share": str(share)}, sample_lines=tuple(map(str, endpoints)))


def _require_both_ends(route: Route, horizon: Horizon) -> None:
    """Raise EnvironmentBroke where there is nothing at one end of the route, so that nothing can be said of it."""
    require_samples(sorted(horizon.pods[route.near]), f"helloworld pods in the {route.near}")
    require_samples(sorted(horizon.pods[route.far]), f"helloworld pods in the {route.far}")
    require_samples(sorted(horizon.ways_to(route.far)), f"known gateway addresses of the {route.far}")


def answers_follow_weights(
    replies: Sequence[Reply], route: Route, *, horizon: Horizon, versions: Mapping[str, str]
) -> Evidence:
    """The far network answers as often as its number of pods says, but for one run in a million."""
    answers = [reply.version for reply in replies if reply.version]
    require_samples(answers, "answers")
    _require_both_ends(route, horizon)
    together = [versions[name] for name in horizon.sharing(route.far)]
    far, mode = " or ".join(together), horizon.mode
    near = " or ".join(versions[name] for name in versions if name not in horizon.sharing(route.far))
    far_pods = horizon.pods_sharing(route.far)
    near_pods = (horizon.near_pods | horizon.far_pods) - far_pods
    share = horizon.share_of_network(route.far)
    low, high = statistics.interval(len(answers), float(share))
    if low < 1 or high >= len(answers):
        raise EnvironmentBroke(
            f"{route}: too few answers to tell a missing version from chance", seen=f"{len(answers)} answers"
        )
    count = sum(answers.count(version) for version in together)
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
            causes=_why_not_by_weights(count, len(answers), mode),
            next_command=endpoints_of(route.near),
            where=route,
            numbers=numbers,
            expected_interval=(low, high),
        )
    return Evidence(claim, f"{far} {count} of {len(answers)}", numbers, expected_interval=(low, high))


def naming_chain_is_whole(chain: Sequence[Setting], cluster: str) -> Evidence:
    """Every place that names a cluster, or its network, gives it the one name that it has to have."""
    require_samples(chain, f"links of the {cluster}'s configuration")
    claim = f"{cluster}: every link from the network's label to istiod's gateways agrees"
    table = tuple(map(str, chain))
    broken = [link for link in chain if not link.ok]
    if broken:
        first, *others = broken
        seen = f"{first}"
        if others:
            shown = "; ".join(map(str, others[:SHOWN]))
            seen += f"; {len(others)} more after it: {shown}{' …' if len(others) > SHOWN else ''}"
        raise CheckFailed(
            claim,
            expected=f"{first.source}, {first.of}: {first.expected or 'a name'}",
            seen=seen,
            samples=len(chain),
            causes=_why_broken(first),
            next_command=f"istioctl <istiod of {cluster}> x internal-debug networkz<revision>",
            where=cluster,
            numbers={f"{link.source}, {link.of}": link.seen for link in chain},
        )
    return Evidence(claim, f"{len(chain)} links", {"links": len(chain)}, sample_lines=table)


def every_proxy_synced(state: Synchronisation, cluster: str) -> Evidence:
    """Each proxy is connected to an istiod, and has accepted the latest of every kind that it was sent."""
    require_samples(state.wanted, f"proxies in the {cluster}")
    claim = f"{cluster}: every proxy has accepted all that istiod sent it"
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
            causes=_why_not_synced(absent, refused),
            next_command=f"istioctl <istiod of {cluster}> proxy-status<revision>",
            where=cluster,
            numbers=refused,
        )
    behind = sum(bool(one.unacknowledged) for one in state.others)
    return Evidence(
        claim,
        f"{len(state.found)} synced" + (f", {behind} of {len(state.others)} others pending" if behind else ""),
        {
            "proxies": len(state.found),
            "others": len(state.others),
            "others_pending": behind,
            "versions": counted(one.version for one in state.found),
            "versions_of_others": counted(one.version for one in state.others),
        },
        sample_lines=state.wanted,
    )


def istiod_found_behind(
    asked: str,
    found: Collection[Address],
    cluster: str,
    *,
    gateway: Collection[Address],
    connected: bool = False,
) -> Evidence:
    """A managed cluster's proxies look for istiod at the gateway of istiod's cluster, at each of its addresses.

    ``asked`` is the host and port that they are configured with, ``found`` where that leads, and ``gateway`` the
    addresses of the gateway. The port has to be the one asked for. Where the proxies are ``connected``, another address
    leads to istiod as well: it may have a load balancer of its own.
    """
    require_samples(sorted(map(str, gateway)), "known gateway addresses of istiod's cluster")
    port = int(asked.rpartition(":")[2])
    wanted = {str(Address(address.host, port)) for address in gateway}
    seen = {str(address) for address in found}
    claim = f"{cluster}: {asked} is the gateway of istiod's cluster"
    if seen != wanted and connected:
        at = either(seen) if seen else asked
        return Evidence(
            f"{cluster}: {asked} leads to istiod, past the gateway of its cluster",
            f"connected at {at}",
            {"endpoints": len(seen)},
            addresses=tuple(sorted(seen)),
        )
    if seen != wanted:
        raise CheckFailed(
            claim,
            expected=either(wanted),
            seen=either(seen),
            samples=len(seen),
            causes=(causes.ISTIOD_ADDRESS_STALE,) if seen else (causes.ISTIOD_SERVICE_WITHOUT_ENDPOINT,),
            next_command=f"kubectl <{cluster}> -n <{cluster} system> get endpointslices -o yaml",
            where=cluster,
        )
    return Evidence(claim, either(seen), {"endpoints": len(seen)}, addresses=tuple(sorted(seen)))


def remote_secrets_usable(
    secrets: Mapping[Watch, Sequence[RemoteSecret]],
    *,
    ids: Mapping[str, str],
    unread: Mapping[str, Sequence[str]] | None = None,
) -> Evidence:
    """One secret of each watching istiod is the watched cluster's, by its data key; none leads to a loopback address.

    ``secrets`` has all that the watching istiod reads, ``ids`` the cluster ids by name. ``unread`` are the remote
    secrets in clusters without an istiod, by the cluster's name: there must be none, for nobody reads them.
    """
    require_samples(sorted(secrets), "clusters that an istiod of another cluster has to watch")
    claim = "istiod's secret for each cluster that it watches has the cluster's id, and an address to reach it at"
    for watch, found in secrets.items():
        wanted, known = ids[watch.watched], {one.cluster_id for one in found}
        looped = any(_is_loopback(one.server) for one in found)
        if looped or wanted not in known or not all(one.server for one in found):
            raise CheckFailed(
                f"{watch.watched}: istiod's secret for it has its id, and an address to reach it at",
                expected=f"a secret with the data key {wanted or f'of the {watch.watched}'}, "
                "and no server at a loopback address",
                seen=_shown(found) or "no remote secret",
                samples=len(found),
                causes=_why_not_usable(found, wanted),
                next_command=f"kubectl <{watch.watching}> -n <{watch.watching} system> "
                "get secrets -l istio/multiCluster=true",
                where=Route(watch.watching, watch.watched),
            )
    for name, found_there in (unread or {}).items():
        if found_there:
            raise CheckFailed(
                f"{name}: a cluster without an istiod holds no remote secret",
                expected="none: the istiod that manages it reads those of its own cluster",
                seen=", ".join(found_there),
                samples=len(found_there),
                causes=(),
                next_command=f"kubectl <{name}> -n <{name} system> get secrets -l istio/multiCluster=true",
                where=name,
            )
    total = sum(map(len, secrets.values()))
    return Evidence(claim, f"{total} usable", {"secrets": total}, sample_lines=tuple(map(_shown, secrets.values())))


def _shown(secrets: Sequence[RemoteSecret]) -> str:
    return ", ".join(f"{one.name}: {one.cluster_id or 'no id'} at {one.server or 'no server'}" for one in secrets)


def every_cluster_watched(
    watched: Mapping[str, Mapping[str, Sequence[WatchedCluster]]], wanted: Collection[str]
) -> Evidence:
    """Every istiod has every cluster of the mesh synced.

    ``watched`` is by the cluster that runs istiod, and by istiod's pods there; ``wanted`` are cluster ids.
    """
    pods = [pod for found in watched.values() for pod in found]
    require_samples(pods, "istiods")
    require_samples(sorted(filter(None, wanted)), "clusters with an id")
    claim = "every istiod watches every cluster"
    states = {
        (name, pod): {one.cluster_id: one.status for one in clusters}
        for name, found in watched.items()
        for pod, clusters in found.items()
    }
    wrong = [
        (name, f"{cluster} {found.get(cluster, 'not watched')} by {pod}")
        for (name, pod), found in states.items()
        for cluster in sorted(wanted)
        if found.get(cluster) != _SYNCED
    ]
    if wrong:
        seen = ", ".join(text for _, text in wrong)
        raise CheckFailed(
            claim,
            expected=f"{', '.join(sorted(wanted))} {_SYNCED} by {', '.join(pods)}",
            seen=seen,
            samples=sum(map(len, states.values())),
            causes=_why_not_watched(seen),
            next_command=remote_clusters_of(wrong[0][0]),
            where=wrong[0][0],
        )
    return Evidence(
        claim, f"{len(wanted)} synced", {"clusters": len(wanted), "istiods": len(pods)}, sample_lines=tuple(pods)
    )


def _is_loopback(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _why_not_usable(secrets: Sequence[RemoteSecret], remote_id: str) -> tuple[Cause, ...]:
    if any(_is_loopback(one.server) for one in secrets):
        return (causes.REMOTE_SECRET_AT_LOOPBACK,)
    if not secrets:
        return (causes.REMOTE_SECRET_MISSING,)
    if remote_id in {one.cluster_id for one in secrets}:
        return (causes.REMOTE_SECRET_WITHOUT_KUBECONFIG,)
    # Secrets of other clusters may be there as well.
    return (causes.REMOTE_SECRET_KEY_WRONG, causes.REMOTE_SECRET_MISSING)


def _why_broken(link: Setting) -> tuple[Cause, ...]:
    match link.source:
        case Source.NAMESPACE:
            return (causes.SYSTEM_NAMESPACE_WITHOUT_NETWORK,)
        case Source.MESH_NETWORKS:
            if not link.of.endswith(GATEWAYS):
                return (causes.MESH_NETWORKS_REGISTRY_WRONG,)
            return (causes.GATEWAY_ADDRESS_WRONG,) if link.seen else (causes.MESH_NETWORKS_WITHOUT_GATEWAY,)
        case Source.SERVICE:
            if link.seen:
                return (causes.GATEWAY_ADDRESS_WRONG,)
            return (causes.GATEWAY_SERVICE_WITHOUT_NETWORK, causes.GATEWAY_SERVICE_WITHOUT_ADDRESS)
        case Source.POD_LABEL:
            return (causes.POD_WITHOUT_NETWORK,)
        case Source.POD_NETWORK:
            return (causes.PROXY_NETWORK_WRONG,)
        case Source.POD_CLUSTER:
            return (causes.PROXY_CLUSTER_ID_WRONG,)
        case Source.REMOTE_KUBECONFIG:
            # Keys of other clusters may be there as well.
            return (
                (causes.REMOTE_SECRET_KEY_WRONG, causes.REMOTE_SECRET_MISSING)
                if link.seen
                else (causes.REMOTE_SECRET_MISSING,)
            )
        case Source.CLUSTERS:
            return (causes.REMOTE_SECRET_MISSING, causes.REMOTE_SECRET_REFUSED)
        case Source.GATEWAYS:
            if link.seen:
                return (causes.GATEWAY_ADDRESS_WRONG, causes.PUSH_LATE)
            return (causes.CLUSTER_NOT_SYNCED, causes.GATEWAY_SERVICE_WITHOUT_ADDRESS)


def _why_not_split(
    addresses: Collection[str],
    near_pods: Collection[str],
    far_pods: Collection[str],
    far_gateway: Collection[str],
    mode: NetworkMode,
) -> tuple[Cause, ...]:
    held = set(addresses)
    if not held:
        return (causes.SERVICE_NOT_SENT,)
    if strange := held - {*near_pods, *far_pods, *far_gateway}:
        ports = {address.rpartition(":")[2] for address in far_gateway}
        at_gateways = {address.rpartition(":")[2] for address in strange} <= ports
        return (causes.GATEWAY_ADDRESS_WRONG,) if at_gateways else (causes.STALE_ENDPOINT, causes.STRANGE_POD)
    if held & set(far_pods):
        return far_pods_dialled(mode)
    if not held & set(far_gateway) or not held & set(near_pods):
        return (causes.REMOTE_SECRET_MISSING, causes.REMOTE_SECRET_REFUSED, causes.CLUSTER_NOT_SYNCED)
    if held != {*near_pods, *far_gateway}:
        return (causes.PUSH_LATE, causes.POD_NOT_READY)
    return (causes.ENDPOINT_EJECTED,)


def _why_not_weighted(share: Fraction, wanted: Fraction) -> tuple[Cause, ...]:
    if share < wanted:
        return (causes.POD_WITHOUT_SIDECAR, causes.POD_NOT_READY, causes.CLUSTER_NOT_SYNCED)
    if share > wanted:
        return (causes.PUSH_LATE, causes.POD_NOT_READY)
    return (causes.ENDPOINTS_WEIGHTED,)


def _why_not_by_weights(far: int, answers: int, mode: NetworkMode) -> tuple[Cause, ...]:
    """By how many of the answers are from the far version."""
    if not far:
        return far_version_missing(mode)
    return (causes.BALANCED_WITHOUT_WEIGHTS,) if far < answers else near_version_missing()


def _why_not_synced(absent: Collection[str], refused: Collection[str]) -> tuple[Cause, ...]:
    if absent:
        return (causes.PROXY_REFUSED, causes.ISTIOD_UNREACHABLE)
    return (causes.ENVOY_REFUSED_CONFIG,) if refused else (causes.PROXY_HANGS,)


def _why_not_watched(seen: str) -> tuple[Cause, ...]:
    """By istiod's words for the state of a watch."""
    if "not watched" in seen:
        return (causes.REMOTE_SECRET_MISSING, causes.REMOTE_SECRET_KEY_WRONG)
    if "closed" in seen:
        return (causes.WATCH_CLOSED,)
    return (causes.API_SERVER_UNREACHABLE, causes.REMOTE_SECRET_REFUSED)
