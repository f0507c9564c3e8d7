"""Who answered, and by which path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from splithorizon.base import statistics
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks.judging import (
    SHOWN,
    CheckFailed,
    Evidence,
    by_name,
    either,
    require_samples,
    why_lost,
)
from splithorizon.checks.matched import every_reply_matched, ways_of
from splithorizon.checks.next_steps import endpoints_of, logs_of
from splithorizon.checks.suspects import (
    far_endpoint_unreachable,
    far_version_missing,
    near_version_missing,
    not_answered,
)
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.horizon import group_of
from splithorizon.istio.info import NetworkMode
from splithorizon.istio.topology import Route
from splithorizon.mesh.bound_clients import STATUS, BoundClients
from splithorizon.mesh.confinement import Confinement
from splithorizon.traffic.client import Sample
from splithorizon.traffic.requests import Reply

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
            seen=ways_of(misrouted, len(sample.matched.pairs)),
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
            seen=ways_of(misrouted, len(sample.matched.pairs))
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
    claim = f"{route}: all versions answer, evenly"
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


def _why_unanswered(lost: Sequence[Reply], mode: NetworkMode) -> tuple[Cause, ...]:
    """A policy answers 403, and a sidecar without an endpoint says so; anything else may come from any network."""
    refused = not_answered(lost)
    if refused == (causes.POLICY_DENIES,):
        return refused
    if all(_NO_ENDPOINT in reply.body for reply in lost):
        return (causes.SERVICE_NOT_SENT, causes.REMOTE_SECRET_MISSING, *refused)
    return (*far_endpoint_unreachable(mode), *refused)
