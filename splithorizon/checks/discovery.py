"""What istiod has found out, and what it has told the proxies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from ipaddress import ip_address
from urllib.parse import urlsplit

from splithorizon import statistics
from splithorizon.by_hand import REMOTE_CLUSTERS, endpoints_of
from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, either, require_samples
from splithorizon.errors import EnvironmentBroke
from splithorizon.mesh.gateway import Address
from splithorizon.observations.anchors import Bundle
from splithorizon.observations.chain import Link, Place
from splithorizon.observations.control_plane import RemoteSecret, Synchronisation, WatchedCluster
from splithorizon.observations.proxy import Endpoint, share_of
from splithorizon.observations.replies import Reply
from splithorizon.route import Route
from splithorizon.topology import Role
from splithorizon.workloads import VERSION_OF

_SYNCED = "synced"
# Who reads that the root ends has the time to replace it.
_STILL_VALID = timedelta(days=7)


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
            next_command=endpoints_of(route.near),
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
            next_command=endpoints_of(route.near),
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
            next_command=f"kubectl <{Role.PRIMARY}> get destinationrules -A -o yaml",
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
            next_command=f"istioctl <{Role.PRIMARY}> x internal-debug networkz<revision>",
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
            next_command=f"istioctl <{Role.PRIMARY}> proxy-status<revision>",
            numbers=refused,
        )
    return Evidence(claim, f"{len(state.found)} synced", {"proxies": len(state.found)}, sample_lines=state.wanted)


def istiod_found_behind(asked: str, found: Collection[Address], *, gateway: Collection[Address]) -> Evidence:
    """Where the remote's proxies look for istiod is the primary's gateway, every address of it, at the port asked."""
    require_samples(sorted(map(str, gateway)), "known gateway addresses of the primary")
    port = int(asked.rpartition(":")[2])
    wanted = {str(Address(address.host, port)) for address in gateway}
    seen = {str(address) for address in found}
    claim = f"remote: {asked} is the primary's gateway"
    if seen != wanted:
        raise CheckFailed(
            claim,
            expected=either(wanted),
            seen=either(seen),
            samples=len(seen),
            likely_cause="the remote's Service for istiod has no endpoint: nothing of the remote was installed, "
            "or its gateway address was not known then"
            if not seen
            else "the endpoints of the remote's Service for istiod name another address than the primary's gateway's: "
            "remotePilotAddress is stale, or never was right",
            next_command=f"kubectl <{Role.REMOTE}> -n <{Role.REMOTE} system> get endpointslices -o yaml",
        )
    return Evidence(claim, either(seen), {"endpoints": len(seen)}, addresses=tuple(sorted(seen)))


def remote_secrets_usable(secrets: Sequence[RemoteSecret], *, remote_id: str) -> Evidence:
    """One of the remote secrets is the remote's, by its data key, and none leads to a loopback address."""
    claim = "remote: istiod's secret for it has its id, and an address to reach it at"
    shown = ", ".join(f"{one.name}: {one.cluster_id or 'no id'} at {one.server or 'no server'}" for one in secrets)
    looped = [one for one in secrets if _is_loopback(one.server)]
    if looped or remote_id not in {one.cluster_id for one in secrets} or not all(one.server for one in secrets):
        raise CheckFailed(
            claim,
            expected=f"a secret with the data key {remote_id or 'of the remote'}, and no server at a loopback address",
            seen=shown or "no remote secret",
            samples=len(secrets),
            likely_cause="the secret was made of a kubeconfig of the cluster's own machine: its server is a loopback "
            "address, where istiod finds nothing but itself"
            if looped
            else "its remote secret is missing or refused: no data key is the cluster's id, or it holds no kubeconfig",
            next_command=f"kubectl <{Role.PRIMARY}> -n <{Role.PRIMARY} system> get secrets -l istio/multiCluster=true",
        )
    return Evidence(claim, f"{len(secrets)} usable", {"secrets": len(secrets)}, sample_lines=(shown,))


def every_cluster_watched(watched: Mapping[str, Sequence[WatchedCluster]], wanted: Collection[str]) -> Evidence:
    """Every istiod has every cluster of the mesh synced."""
    require_samples(sorted(watched), "istiods")
    require_samples(sorted(filter(None, wanted)), "clusters with an id")
    claim = "every istiod watches every cluster"
    states = {istiod: {one.cluster_id: one.status for one in clusters} for istiod, clusters in watched.items()}
    wrong = [
        f"{cluster} {found.get(cluster, 'not watched')} by {istiod}"
        for istiod, found in states.items()
        for cluster in sorted(wanted)
        if found.get(cluster) != _SYNCED
    ]
    if wrong:
        raise CheckFailed(
            claim,
            expected=f"{', '.join(sorted(wanted))} {_SYNCED} by {', '.join(states)}",
            seen=", ".join(wrong),
            samples=sum(map(len, states.values())),
            likely_cause="istiod does not know the cluster: its remote secret is missing or refused"
            if any("not watched" in one for one in wrong)
            else "istiod let go of the cluster and did not take it up again: it lives on what it knew, until restarted"
            if any("closed" in one for one in wrong)
            else "istiod does not reach the cluster's API server, or may not read it: a stale token, a wrong address",
            next_command=REMOTE_CLUSTERS,
        )
    return Evidence(
        claim, f"{len(wanted)} synced", {"clusters": len(wanted), "istiods": len(states)}, sample_lines=tuple(states)
    )


def webhooks_hold_root(bundles: Sequence[Bundle], role: Role, *, root: Bundle) -> Evidence:
    """Every webhook's bundle holds valid certificates, and a root that the mesh's workloads trust."""
    require_samples(bundles, f"webhooks of the mesh's revision in the {role}")
    require_samples(root.roots, f"roots in {root.place}")
    claim = f"{role}: every webhook trusts the mesh's root"
    wrong = [one for one in bundles if not one.fingerprints & root.fingerprints or not _all_valid(one)]
    if wrong:
        raise CheckFailed(
            claim,
            expected=f"{len(bundles)} webhooks with {str(root).partition(': ')[2]}",
            seen="; ".join(map(str, wrong[:SHOWN])) + (f"; {len(wrong)} in all" if len(wrong) > SHOWN else ""),
            samples=len(bundles),
            likely_cause="istiod did not write its CA bundle there: it may not, it does not see the cluster, "
            "or the webhook is of an istiod that is gone"
            if any(one.problem for one in wrong)
            else "a certificate in the bundle is not valid now: a root was not replaced in time, or a clock is wrong"
            if all(one.fingerprints & root.fingerprints for one in wrong)
            else "the webhook has the root of another istiod: the root was replaced, or revisions share a webhook",
            next_command=f"kubectl <{role}> get mutatingwebhookconfigurations,validatingwebhookconfigurations -o yaml",
        )
    return Evidence(claim, f"{len(bundles)} webhooks", {"webhooks": len(bundles)}, sample_lines=(str(root),))


def roots_agree(bundles: Sequence[Bundle]) -> Evidence:
    """Each cluster's namespace has the same root certificates, and one of them stays valid for a while."""
    require_samples(bundles, "root bundles")
    claim = "both clusters trust the same root, valid for a week at least"
    lasting = all(any(root.valid(still_for=_STILL_VALID) for root in one.roots) for one in bundles)
    unread = any(one.problem for one in bundles)
    if unread or not lasting or len({one.fingerprints for one in bundles}) != 1:
        raise CheckFailed(
            claim,
            expected=f"the same certificates in each, one valid until after {datetime.now(UTC) + _STILL_VALID:%F}",
            seen="; ".join(map(str, bundles)),
            samples=len(bundles),
            likely_cause="istiod does not write it: it may not, or does not see the cluster; pods cannot start without"
            if unread
            else "the clusters have certificates of different roots, or one root was replaced in one cluster alone"
            if len({one.fingerprints for one in bundles}) != 1
            else "the root's time is over, or nearly: then no proxy trusts another, and none trusts istiod",
            next_command=f"kubectl <{Role.REMOTE}> -n <namespace> get configmap istio-ca-root-cert -o yaml",
        )
    return Evidence(
        claim,
        f"until {max(root.ends for one in bundles for root in one.roots):%F}",
        {"roots": len(bundles[0].roots)},
        sample_lines=tuple(map(str, bundles)),
    )


def _all_valid(bundle: Bundle) -> bool:
    return all(root.valid() for root in bundle.roots)


def _is_loopback(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
