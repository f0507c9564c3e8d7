"""Who answered, and by which path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from splithorizon import statistics
from splithorizon.by_hand import REMOTE_CLUSTERS, endpoints_of, logs_of
from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, either, require_samples, why_lost
from splithorizon.errors import EnvironmentBroke
from splithorizon.observations.client import Sample
from splithorizon.observations.joining import Joined, JoinedReply
from splithorizon.observations.replies import Reply
from splithorizon.route import Route
from splithorizon.workloads import VERSION_OF


def all_answered(replies: Sequence[Reply], route: Route) -> Evidence:
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
            likely_cause="the side-car holds an endpoint that cannot be reached: "
            "a pod address of the other network, or a wrong gateway address",
            next_command=endpoints_of(route.near),
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
    claim = f"within {sample.route.near}: every request is answered by a pod of its own cluster"
    command = logs_of(sample.route.near)
    if lost:
        kinds = Counter(map(why_lost, lost))
        raise CheckFailed(
            claim,
            expected=f"{len(sample.replies)} of {len(sample.replies)} answered",
            seen=f"{len(sample.replies) - len(lost)} answered; "
            + ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common(SHOWN)),
            samples=len(sample.replies),
            likely_cause="the near pods refuse it (a policy), or are not there: no other network is involved",
            next_command=command,
        )
    every_reply_joined(sample.joined, sample.route)
    strayed = [pair for pair in sample.joined.pairs if pair.line.upstream_host not in near_pods]
    if strayed:
        raise CheckFailed(
            claim,
            expected=f"straight at {either(near_pods)}",
            seen=_paths(strayed, len(sample.joined.pairs)),
            samples=len(sample.joined.pairs),
            likely_cause="another cluster has a Service of that name, or a gateway takes the network's own traffic",
            next_command=command,
        )
    return Evidence(
        claim,
        f"{len(sample.joined.pairs)} stayed",
        {"requests": len(sample.replies)},
        sample_lines=(sample.joined.pairs[0].line.raw,),
        addresses=tuple(sorted(near_pods)),
    )


def kept_at_home(sample: Sample, *, near_pods: Collection[str], by: str) -> Evidence:
    """Every request was answered, straight by a pod of the client's own cluster, as ``by`` demands."""
    require_samples(sample.replies, "requests")
    require_samples(sorted(near_pods), "pods of the near cluster")
    every_reply_joined(sample.joined, sample.route)
    strayed = [pair for pair in sample.joined.pairs if pair.line.upstream_host not in near_pods]
    lost = [reply for reply in sample.replies if not reply.answered]
    claim = f"{sample.route}: {by} keeps every request in the client's own cluster"
    if strayed or lost:
        raise CheckFailed(
            claim,
            expected=f"{len(sample.replies)} answered, straight at {either(near_pods)}",
            seen=_paths(strayed, len(sample.joined.pairs))
            if strayed
            else ", ".join(f"{count} x {kind}" for kind, count in Counter(map(why_lost, lost)).most_common(SHOWN)),
            samples=len(sample.replies),
            likely_cause=f"{by} does not rule there: istiod cannot read its configuration (its log says so), or "
            "an older rule for the same host is there"
            if strayed
            else "the near pods refuse it (a policy), or are not there",
            next_command=f"istioctl <{sample.route.near}> proxy-config routes deploy/sleep "
            "-n <namespace> --name 5000 -o yaml",
        )
    return Evidence(
        claim,
        f"{len(sample.replies)} kept at home",
        {"requests": len(sample.replies)},
        sample_lines=(sample.joined.pairs[0].line.raw,),
        addresses=tuple(sorted(near_pods)),
    )


def both_versions_answer(replies: Sequence[Reply], route: Route) -> Evidence:
    """Both versions answer, each as often as equal endpoints do but for one run in a million."""
    answers = [reply.version for reply in replies if reply.version]
    require_samples(answers, "answers")
    versions = sorted(VERSION_OF.values())
    counts = {version: answers.count(version) for version in versions}
    low, high = statistics.interval(len(answers), 1 / len(versions))
    if low < 1:
        raise EnvironmentBroke(
            f"{route}: too few answers to tell a missing version from chance",
            seen=f"{len(answers)} answers",
        )
    strangers = {version: answers.count(version) for version in set(answers) - set(versions)}
    counts |= strangers
    shown = ", ".join(f"{version} {count}" for version, count in counts.items())
    if strangers or not all(low <= count <= high for count in counts.values()):
        missing = [version for version, count in counts.items() if not count]
        far = VERSION_OF[route.far]
        raise CheckFailed(
            f"{route}: both versions answer, evenly",
            expected=f"each version {low} to {high} times (exact binomial, false alarm {statistics.FALSE_ALARM:g})",
            seen=shown,
            samples=len(answers),
            likely_cause="the far version has no endpoint (its remote secret is missing or refused) or one that "
            "cannot be reached (a gateway that is not there, a pod address): the side-car then tries a near pod instead"
            if missing == [far]
            else f"pods of {', '.join(sorted(strangers))} are behind the service"
            if strangers
            else "endpoints are weighted, a locality is preferred, or one side has more pods",
            next_command=REMOTE_CLUSTERS,
        )
    return Evidence(
        f"{route}: both versions answer, evenly",
        shown,
        {
            **counts,
            "p_value": statistics.p_value(counts[versions[0]], len(answers), 0.5),
            "chance_of_missing_one": 2 * statistics.miss(len(answers), 0.5),
            "false_alarm": statistics.FALSE_ALARM,
        },
        expected_interval=(low, high),
    )


def every_reply_joined(joined: Joined, route: Route) -> Evidence:
    """The side-car logged exactly one line for every request."""
    require_samples(range(joined.requests), "requests")
    require_samples([*joined.pairs, *joined.ambiguous], "log lines: the access log is off")
    numbers = {
        "requests": joined.requests,
        "joined": len(joined.pairs),
        "unjoined": len(joined.unjoined) + len(joined.ambiguous),
    }
    if joined.unjoined or joined.ambiguous:
        raise CheckFailed(
            f"{route}: every reply is joined to its own log line",
            expected=f"{joined.requests} of {joined.requests} joined",
            seen=f"{len(joined.pairs)} joined, {len(joined.unjoined)} without a line, "
            f"{len(joined.ambiguous)} with several",
            samples=joined.requests,
            likely_cause="a second proxy on the way logs the same id, a side-car retried, or lines were dropped",
            next_command=logs_of(route.near),
            numbers=numbers,
        )
    return Evidence(
        f"{route}: every reply is joined to its own log line",
        f"{joined.requests} joined",
        numbers,
    )


def path_proof(joined: Joined, route: Route, *, near_pods: Collection[str], far_gateway: Collection[str]) -> Evidence:
    """The far version went through the far gateway, and the near version to a near pod."""
    require_samples(joined.pairs, "joined replies")
    near, far = VERSION_OF[route.near], VERSION_OF[route.far]
    wanted = {near: frozenset(near_pods), far: frozenset(far_gateway)}
    if not near_pods or not far_gateway or wanted[near] & wanted[far]:
        raise EnvironmentBroke(
            f"{route}: the two paths cannot be told apart by their addresses",
            seen=f"{near} at {either(near_pods)}, {far} through {either(far_gateway)}",
        )
    every_reply_joined(joined, route)
    strayed = [pair for pair in joined.pairs if pair.line.upstream_host not in wanted.get(pair.reply.version or "", ())]
    if strayed:
        raise CheckFailed(
            f"{route}: each version takes its own path",
            expected=f"{far} through {either(far_gateway)}, {near} straight at {either(near_pods)}",
            seen=_paths(strayed, len(joined.pairs)),
            samples=len(joined.pairs),
            likely_cause="the clusters are swapped: the context of one stands for the other"
            if _swapped(joined.pairs, near, far, wanted)
            else _why_strayed(strayed, near, far, wanted),
            next_command=endpoints_of(route.near),
        )
    counts = Counter(pair.reply.version for pair in joined.pairs)
    if not (counts[near] and counts[far]):
        raise CheckFailed(
            f"{route}: each version takes its own path",
            expected=f"replies from {near} and from {far}",
            seen=f"{counts[near]} from {near}, {counts[far]} from {far}",
            samples=len(joined.pairs),
            likely_cause="only one network answers, so no path was proven: the discovery checks name what is missing",
            next_command=REMOTE_CLUSTERS,
        )
    samples = [next(pair.line.raw for pair in joined.pairs if pair.reply.version == version) for version in (near, far)]
    return Evidence(
        f"{route}: each version takes its own path",
        f"{counts[far]} via :{next(iter(far_gateway)).rpartition(':')[2]}, {counts[near]} direct",
        {f"{far}_through_gateway": counts[far], f"{near}_at_its_pod": counts[near]},
        sample_lines=tuple(samples),
        addresses=(*sorted(near_pods), *sorted(far_gateway)),
    )


def _paths(pairs: Iterable[JoinedReply], total: int) -> str:
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


def _swapped(pairs: Sequence[JoinedReply], near: str, far: str, wanted: Mapping[str, Collection[str]]) -> bool:
    """Whether both versions came, and each, every time, by the path of the other."""
    crossed = {near: wanted[far], far: wanted[near]}
    seen = {pair.reply.version for pair in pairs}
    return seen == {near, far} and all(pair.line.upstream_host in crossed[pair.reply.version or ""] for pair in pairs)


def _why_strayed(strayed: Sequence[JoinedReply], near: str, far: str, wanted: Mapping[str, Collection[str]]) -> str:
    hosts = {pair.line.upstream_host for pair in strayed}
    if any(pair.reply.version == near and pair.line.upstream_host in wanted[far] for pair in strayed):
        return f"{near} answers behind the far gateway: both versions run in both clusters, or the gateway hairpins"
    if any(pair.reply.version == far and pair.line.upstream_host in wanted[near] for pair in strayed):
        return f"a pod of the near cluster answers as {far}, or forwards to the other network itself"
    if all(host is None for host in hosts):
        return "the side-car had no endpoint to send to"
    if all(pair.reply.version == near for pair in strayed):
        return f"{near} answers behind a gateway of its own network, or its pods were replaced meanwhile"
    return (
        "istiod does not know the far endpoints' network and hands out pod addresses (no "
        "topology.istio.io/network label on the system namespace), or the gateway's address changed"
    )
