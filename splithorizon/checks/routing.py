"""Who answered, and by which path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from splithorizon.base import statistics
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks.judging import (
    SHOWN,
    CheckFailed,
    Evidence,
    PathCount,
    by_name,
    either,
    require_samples,
    why_lost,
)
from splithorizon.checks.next_steps import endpoints_of, logs_of
from splithorizon.checks.suspects import (
    far_endpoint_unreachable,
    far_pods_dialled,
    far_version_missing,
    near_version_missing,
    not_answered,
)
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.horizon import Horizon, group_of
from splithorizon.istio.info import NetworkMode
from splithorizon.istio.topology import Route, Way
from splithorizon.mesh.bound_clients import STATUS, BoundClients
from splithorizon.mesh.pinned import Confinement
from splithorizon.traffic.client import Sample
from splithorizon.traffic.correlate import Matched, MatchedReply
from splithorizon.traffic.requests import Reply

# A proxy that forwards to ever other addresses does not fill a report.
_PATHS_COUNTED = 20
# What Envoy answers itself where a cluster has no healthy endpoint.
_NO_ENDPOINT = "no healthy upstream"
# A rule that confines requests and does not: another rule is in force, or istiod did not take over the setting.
_WHY_NOT_CONFINED = {
    Confinement.SUBSET: (causes.OLDER_RULE,),
    Confinement.HEADLESS: (causes.RULE_SENDS_ELSEWHERE,),
    Confinement.CLUSTER_LOCAL: (causes.MESH_CONFIG_UNREADABLE,),
}


def all_answered(replies: Sequence[Reply], route: Route, *, mode: NetworkMode) -> Evidence:
    """Every request was answered by helloworld; none was sent again."""
    require_samples(replies, "requests")
    lost = [reply for reply in replies if not reply.answered]
    if lost:
        kinds = Counter(map(why_lost, lost))
        seen = ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common(SHOWN))
        raise CheckFailed(
            f"{route}: every request is answered",
            expected=f"{len(replies)} of {len(replies)} answered, none retried",
            seen=f"{len(replies) - len(lost)} answered; {seen}",
            samples=len(replies),
            causes=_why_unanswered(lost, mode),
            next_command=endpoints_of(route.near),
            where=route,
        )
    return Evidence(
        f"{route}: every request is answered",
        f"{len(replies)} answered",
        {"requests": len(replies)},
    )


def local_traffic_stays(sample: Sample, *, near_pods: Collection[str]) -> Evidence:
    """Every request to a service of the client's own cluster was answered, straight by one of its pods."""
    require_samples(sample.replies, "requests")
    require_samples(sorted(near_pods), "pods of the near cluster")
    lost = [reply for reply in sample.replies if not reply.answered]
    claim = f"within {sample.route.near}: every request is answered by a pod of the client's cluster"
    command = logs_of(sample.route.near)
    if lost:
        kinds = Counter(map(why_lost, lost))
        raise CheckFailed(
            claim,
            expected=f"{len(sample.replies)} of {len(sample.replies)} answered",
            seen=f"{len(sample.replies) - len(lost)} answered; "
            + ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common(SHOWN)),
            samples=len(sample.replies),
            causes=not_answered(lost),
            next_command=command,
            where=sample.route,
        )
    every_reply_matched(sample.matched, sample.route)
    misrouted = [pair for pair in sample.matched.pairs if pair.line.upstream_host not in near_pods]
    if misrouted:
        raise CheckFailed(
            claim,
            expected=f"straight at {either(near_pods)}",
            seen=_paths(misrouted, len(sample.matched.pairs)),
            samples=len(sample.matched.pairs),
            causes=(causes.SERVICE_IN_BOTH_CLUSTERS, causes.GATEWAY_USED_FOR_NEAR),
            next_command=command,
            where=sample.route,
        )
    return Evidence(
        claim,
        f"{len(sample.matched.pairs)} stayed",
        {"requests": len(sample.replies)},
        sample_lines=(sample.matched.pairs[0].line.raw,),
        addresses=tuple(sorted(near_pods)),
    )


def stays_in_cluster(sample: Sample, *, near_pods: Collection[str], by: Confinement) -> Evidence:
    """Every request was answered, straight by a pod of the client's own cluster, as ``by`` demands."""
    require_samples(sample.replies, "requests")
    require_samples(sorted(near_pods), "pods of the near cluster")
    every_reply_matched(sample.matched, sample.route)
    misrouted = [pair for pair in sample.matched.pairs if pair.line.upstream_host not in near_pods]
    lost = [reply for reply in sample.replies if not reply.answered]
    claim = f"{sample.route}: {by} keeps every request in the client's own cluster"
    if misrouted or lost:
        raise CheckFailed(
            claim,
            expected=f"{len(sample.replies)} answered, straight at {either(near_pods)}",
            seen=_paths(misrouted, len(sample.matched.pairs))
            if misrouted
            else ", ".join(f"{count} x {kind}" for kind, count in Counter(map(why_lost, lost)).most_common(SHOWN)),
            samples=len(sample.replies),
            causes=_WHY_NOT_CONFINED[by] if misrouted else not_answered(lost),
            next_command=f"istioctl <{sample.route.near}> proxy-config routes deploy/sleep "
            "-n <namespace> --name 5000 -o yaml",
            where=sample.route,
        )
    return Evidence(
        claim,
        f"{len(sample.replies)} stayed",
        {"requests": len(sample.replies)},
        sample_lines=(sample.matched.pairs[0].line.raw,),
        addresses=tuple(sorted(near_pods)),
    )


def both_versions_answer(
    replies: Sequence[Reply],
    route: Route,
    *,
    versions: Mapping[str, str],
    mode: NetworkMode,
    groups: Collection[frozenset[str]] = (),
) -> Evidence:
    """The near and the far version answer, each as often as equal endpoints do but for one run in a million.

    ``versions`` has the version that each cluster alone runs, by the cluster's name. ``groups`` are the versions whose
    answers are counted together; by default each version is one. Other groups are other routes' to judge.
    """
    answers = [reply.version for reply in replies if reply.version]
    require_samples(answers, "answers")
    every = groups or [frozenset({version}) for version in versions.values()]
    near, far = (group_of(versions[name], every) for name in (route.near, route.far))
    judged = by_name((near, far))
    shares = {name: len(group) / len(versions) for name, group in judged.items()}
    counts = {name: sum(answer in group for answer in answers) for name, group in judged.items()}
    # Of two groups one count settles the other: then one interval is judged, and else one for each.
    alarm = statistics.FALSE_ALARM / (1 if near | far == {*versions.values()} else len(judged))
    intervals = {name: statistics.interval(len(answers), share, alarm) for name, share in shares.items()}
    if any(low < 1 for low, _ in intervals.values()):
        raise EnvironmentBroke(
            f"{route}: too few answers to tell a missing version from chance",
            seen=f"{len(answers)} answers",
        )
    odd = [name for name, (low, high) in intervals.items() if not low <= counts[name] <= high]
    missing = [judged[name] for name, count in counts.items() if not count]
    strangers = {version: answers.count(version) for version in set(answers) - set(versions.values())}
    counts |= strangers
    shown = ", ".join(f"{name} {count}" for name, count in counts.items())
    claim = f"{route}: both versions answer, evenly"
    interval = intervals[odd[0] if odd else next(name for name in judged if judged[name] == near)]
    if strangers or odd:
        if strangers:
            why: tuple[Cause, ...] = (causes.STRANGE_POD,)
        elif missing == [far] and route.across_networks:
            why = far_version_missing(mode)
        else:
            why = near_version_missing() if missing else (causes.ENDPOINTS_WEIGHTED, causes.LOCALITY_PREFERRED)
        raise CheckFailed(
            claim,
            expected=f"{_each(intervals)} (exact binomial, false alarm {statistics.FALSE_ALARM:g})",
            seen=shown,
            samples=len(answers),
            causes=why,
            next_command=endpoints_of(route.near),
            where=route,
            numbers=counts,
            expected_interval=interval,
        )
    return Evidence(
        claim,
        shown,
        {
            **counts,
            "p_value": min(statistics.p_value(counts[name], len(answers), share) for name, share in shares.items()),
            "chance_of_missing_one": sum(statistics.miss(len(answers), share) for share in shares.values()),
            "false_alarm": statistics.FALSE_ALARM,
        },
        expected_interval=interval,
    )


def _each(intervals: Mapping[str, tuple[int, int]]) -> str:
    """How often each group has to answer, those alike in one part of the sentence."""
    alike = {interval: [name for name in intervals if intervals[name] == interval] for interval in intervals.values()}
    return "; ".join(
        f"{'each version' if len(names) == len(intervals) else ' and '.join(names)} {low} to {high} times"
        for (low, high), names in alike.items()
    )


def every_reply_matched(matched: Matched, route: Route) -> Evidence:
    """The sidecar logged exactly one line for every request."""
    require_samples(range(matched.requests), "requests")
    require_samples([*matched.pairs, *matched.ambiguous], "log lines: the access log is off")
    numbers: dict[str, float | str] = {
        "requests": matched.requests,
        "joined": len(matched.pairs),
        "unjoined": len(matched.unmatched) + len(matched.ambiguous),
        # Several routes of one client are judged by the same batch.
        "batch": matched.batch,
    }
    if matched.unmatched or matched.ambiguous:
        raise CheckFailed(
            f"{route}: every reply is joined to its own log line",
            expected=f"{matched.requests} of {matched.requests} joined",
            seen=f"{len(matched.pairs)} joined, {len(matched.unmatched)} without a line, "
            f"{len(matched.ambiguous)} with several",
            samples=matched.requests,
            causes=_why_unmatched(matched),
            next_command=logs_of(route.near),
            where=route,
            numbers=numbers,
        )
    return Evidence(
        f"{route}: every reply is joined to its own log line",
        f"{matched.requests} joined",
        numbers,
    )


def rule_binds_own_clients(found: BoundClients) -> Evidence:
    """The rule of one primary answered every request of the clients that it manages, and none of any other."""
    for name in found.replies:
        require_samples(found.replies[name], f"requests of the client in {name}")
    others = found.replies.keys() - found.managed
    require_samples(sorted(others), "clients that another istiod manages")
    unbound = {name: sum(one.status != STATUS for one in found.replies[name]) for name in found.managed}
    bound = {name: sum(one.status == STATUS for one in found.replies[name]) for name in others}
    lost = {name: [one for one in found.replies[name] if not one.answered] for name in others}
    total = sum(map(len, found.replies.values()))
    claim = f"a rule in {found.primary} binds the clients of {' and '.join(sorted(found.managed))} alone"
    if any(unbound.values()) or any(lost.values()):
        wrong = next(name for counts in (bound, lost, unbound) for name in sorted(counts) if counts[name])
        seen = {
            name: f"{count} of {len(found.replies[name])} answered {STATUS} by a rule" for name, count in bound.items()
        }
        seen |= {name: f"{count} of {len(found.replies[name])} past the rule" for name, count in unbound.items()}
        if any(bound.values()):
            why: tuple[Cause, ...] = (causes.RULE_IN_OTHER_PRIMARY,)
        elif any(unbound.values()):
            why = (causes.OLDER_RULE, causes.PUSH_LATE)
        else:
            why = not_answered(next(replies for replies in lost.values() if replies))
        raise CheckFailed(
            claim,
            expected=f"status {STATUS} for each of these clients, and an answer of helloworld for every other",
            seen="; ".join(f"{name}: {counted}" for name, counted in sorted(seen.items())),
            samples=total,
            causes=why,
            next_command=f"kubectl <config of {wrong}> get virtualservices -A",
            where=wrong,
        )
    return Evidence(
        claim,
        f"{sum(len(found.replies[name]) for name in found.managed)} bound, "
        f"{sum(len(found.replies[name]) for name in others)} not",
        {"requests": total},
    )


def path_proof(matched: Matched, route: Route, *, horizon: Horizon, versions: Mapping[str, str]) -> Evidence:
    """The far version went through the far network's gateway, and the near version to a near pod.

    On one network the far version is reached at its pod. Answers of other clusters are other routes' to judge.
    """
    require_samples(matched.pairs, "joined replies")
    near, far, mode = versions[route.near], versions[route.far], horizon.mode
    near_pods, far_gateway = horizon.pods[route.near], horizon.ways_to(route.far)
    wanted = {near: near_pods, far: far_gateway}
    if not near_pods or not far_gateway or wanted[near] & wanted[far]:
        raise EnvironmentBroke(
            f"{route}: the addresses do not distinguish the two paths",
            seen=f"{near} at {either(near_pods)}, {far} through {either(far_gateway)}",
        )
    every_reply_matched(matched, route)
    others = {versions[name] for name in versions} - {near, far}
    matched = replace(matched, pairs=tuple(pair for pair in matched.pairs if pair.reply.version not in others))
    far_pods = horizon.pods[route.far] if route.across_networks else frozenset[str]()
    ways = {
        **dict.fromkeys(far_pods, Way.FAR_POD),
        **dict.fromkeys(near_pods, Way.NEAR_POD),
        **dict.fromkeys(far_gateway, Way.FAR_GATEWAY if route.across_networks else Way.FAR_POD),
    }
    paths = _counted_paths(matched.pairs, ways, wanted)
    misrouted = [
        pair for pair in matched.pairs if pair.line.upstream_host not in wanted.get(pair.reply.version or "", ())
    ]
    claim = f"{route}: each version takes its own path"
    if misrouted:
        if _swapped(matched.pairs, near, far, wanted):
            why: tuple[Cause, ...] = (causes.CONTEXTS_SWAPPED,)
        elif route.across_networks:
            why = _why_misrouted(misrouted, near, far, wanted, far_pods, mode)
        else:
            why = _why_astray_within(misrouted, near, far, wanted)
        raise CheckFailed(
            claim,
            expected=f"{far} {'through' if route.across_networks else 'straight at'} {either(far_gateway)}, "
            f"{near} straight at {either(near_pods)}",
            seen=_paths(misrouted, len(matched.pairs)),
            samples=len(matched.pairs),
            causes=why,
            next_command=endpoints_of(route.near),
            where=route,
            paths=paths,
        )
    counts = Counter(pair.reply.version for pair in matched.pairs)
    # Few connections to a far network's gateway settle which of several clusters behind it answers.
    alone = not route.across_networks or len(horizon.sharing(route.far)) == 1
    if not counts[near] or (alone and not counts[far]):
        raise CheckFailed(
            claim,
            expected=f"replies from {near} and from {far}",
            seen=f"{counts[near]} from {near}, {counts[far]} from {far}",
            samples=len(matched.pairs),
            causes=near_version_missing() if counts[far] or not route.across_networks else far_version_missing(mode),
            next_command=endpoints_of(route.near),
            where=route,
            paths=paths,
        )
    samples = [
        next(pair.line.raw for pair in matched.pairs if pair.reply.version == version)
        for version in (near, far)
        if counts[version]
    ]
    if route.across_networks:
        port = next(iter(far_gateway)).rpartition(":")[2]
        key_number, far_number = f"{counts[far]} via :{port}, {counts[near]} direct", f"{far}_through_gateway"
    else:
        key_number, far_number = f"{counts[far]} pod to pod, {counts[near]} direct", f"{far}_at_its_pod"
    return Evidence(
        claim,
        key_number,
        {far_number: counts[far], f"{near}_at_its_pod": counts[near]},
        sample_lines=tuple(samples),
        addresses=(*sorted(near_pods), *sorted(far_gateway)),
        paths=paths,
    )


def _counted_paths(
    pairs: Iterable[MatchedReply], ways: Mapping[str, Way], wanted: Mapping[str, Collection[str]]
) -> tuple[PathCount, ...]:
    """The replies by way, most first. ``ways`` has the way by the address; ``wanted`` the addresses by the version."""
    kinds = Counter(
        (pair.reply.version or "", pair.line.upstream_host or "", pair.line.response_flags or "") for pair in pairs
    )
    return tuple(
        PathCount(
            way=ways.get(address, Way.ELSEWHERE) if address else Way.NOWHERE,
            version=version,
            address=address,
            flags=flags.strip("-"),
            count=count,
            expected=address in wanted.get(version, ()),
        )
        for (version, address, flags), count in kinds.most_common(_PATHS_COUNTED)
    )


def _paths(pairs: Iterable[MatchedReply], total: int) -> str:
    kinds = Counter(
        (
            pair.reply.version or "no answer",
            pair.line.upstream_host or "no upstream",
            pair.line.response_flags or "-",
        )
        for pair in pairs
    )
    return "; ".join(
        f"{count} of {total}: {version} from {host}" + (f" ({flags})" if flags != "-" else "")
        for (version, host, flags), count in kinds.most_common(SHOWN)
    )


def _swapped(pairs: Sequence[MatchedReply], near: str, far: str, wanted: Mapping[str, Collection[str]]) -> bool:
    """Whether both versions came, and each, every time, by the path of the other."""
    crossed = {near: wanted[far], far: wanted[near]}
    seen = {pair.reply.version for pair in pairs}
    return seen == {near, far} and all(pair.line.upstream_host in crossed[pair.reply.version or ""] for pair in pairs)


def _why_misrouted(
    misrouted: Sequence[MatchedReply],
    near: str,
    far: str,
    wanted: Mapping[str, Collection[str]],
    far_pods: Collection[str],
    mode: NetworkMode,
) -> tuple[Cause, ...]:
    hosts = {pair.line.upstream_host for pair in misrouted}
    at_near_pods = [pair.reply for pair in misrouted if pair.line.upstream_host in wanted[near]]
    if any(pair.reply.version == near and pair.line.upstream_host in wanted[far] for pair in misrouted):
        return (causes.BOTH_VERSIONS_EVERYWHERE, causes.GATEWAY_HAIRPIN, causes.POD_FORWARDS)
    if any(reply.version == far for reply in at_near_pods):
        return (causes.POD_FORWARDS, causes.FAR_VERSION_RUNS_NEAR)
    if hosts == {None}:
        return (causes.SERVICE_NOT_SENT,)
    if hosts & {*far_pods}:
        return far_pods_dialled(mode)
    if all(pair.reply.version == near for pair in misrouted):
        return (causes.GATEWAY_USED_FOR_NEAR, causes.PODS_REPLACED)
    if at_near_pods:
        return (causes.STRANGE_POD,) if any(reply.version for reply in at_near_pods) else not_answered(at_near_pods)
    # The far pod that had this address when the request was sent may be gone by now.
    ports = {address.rpartition(":")[2] for address in wanted[far]}
    if {str(host).rpartition(":")[2] for host in hosts} <= ports:
        return (causes.GATEWAY_ADDRESS_WRONG,)
    return (causes.GATEWAY_ADDRESS_WRONG, causes.PODS_REPLACED)


def _why_astray_within(
    misrouted: Sequence[MatchedReply], near: str, far: str, wanted: Mapping[str, Collection[str]]
) -> tuple[Cause, ...]:
    """Why requests of a network that two clusters share did not go to the pods of the cluster that answered."""
    hosts = {pair.line.upstream_host for pair in misrouted}
    if hosts == {None}:
        return (causes.SERVICE_NOT_SENT,)
    if hosts <= {*wanted[near], *wanted[far]}:
        return (causes.BOTH_VERSIONS_EVERYWHERE, causes.POD_FORWARDS)
    if any(pair.reply.version for pair in misrouted):
        return (causes.GATEWAY_USED_FOR_NEAR, causes.PODS_REPLACED)
    return (causes.PODS_REPLACED, causes.STRANGE_POD)


def _why_unmatched(matched: Matched) -> tuple[Cause, ...]:
    if matched.ambiguous:
        return (causes.REQUEST_LOGGED_TWICE, causes.REQUEST_SENT_AGAIN)
    return (causes.LOG_LINES_DROPPED, causes.REQUEST_ID_CHANGED)


def _why_unanswered(lost: Sequence[Reply], mode: NetworkMode) -> tuple[Cause, ...]:
    """A policy answers 403, and a sidecar without an endpoint says so; anything else may come from either network."""
    refused = not_answered(lost)
    if refused == (causes.POLICY_DENIES,):
        return refused
    if all(_NO_ENDPOINT in reply.body for reply in lost):
        return (causes.SERVICE_NOT_SENT, causes.REMOTE_SECRET_MISSING, *refused)
    return (*far_endpoint_unreachable(mode), *refused)
