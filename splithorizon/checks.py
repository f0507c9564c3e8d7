"""The only place that judges: each check states a claim, and refutes it with what was seen.

A check returns its evidence, or raises CheckFailed with what was expected, what was seen, over how
many samples, the likely cause and one command to look further. None of them passes on no samples.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from splithorizon import durations, statistics
from splithorizon.errors import EnvironmentBroke
from splithorizon.observations.client import Attempt
from splithorizon.observations.joining import Joined, JoinedReply
from splithorizon.observations.replies import Reply
from splithorizon.readiness import Readiness
from splithorizon.route import Route
from splithorizon.workloads import VERSION_OF

_SHOWN = 3


@dataclass(frozen=True)
class Evidence:
    """What a check looked at when it found its claim true."""

    claim: str
    key_number: str
    numbers: Mapping[str, float | str] = field(default_factory=dict)
    expected_interval: tuple[int, int] | None = None
    sample_lines: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


class CheckFailed(AssertionError):
    """A claim about the mesh is refuted."""

    def __init__(
        self,
        claim: str,
        *,
        expected: str,
        seen: str,
        samples: int,
        likely_cause: str,
        next_command: str,
    ) -> None:
        """State everything a reader needs to go on."""
        self.claim = claim
        self.expected = expected
        self.seen = seen
        self.samples = samples
        self.likely_cause = likely_cause
        self.next_command = next_command
        super().__init__(
            f"{claim}\n  expected: {expected}\n  seen:     {seen}\n  samples:  {samples}\n"
            f"  likely:   {likely_cause}\n  try:      {next_command}"
        )


def ready(found: Sequence[Readiness], *, sidecar: bool = False) -> Evidence:
    """Every one is ready with all its containers, and with a side-car where one belongs."""
    _require_samples(found, "pods")
    unready = [one for one in found if not one.ready or (sidecar and not one.sidecar)]
    if unready:
        first = unready[0]
        seen = "; ".join(f"{one.namespace}/{one.name}: {one.reason or 'no side-car'}" for one in unready[:_SHOWN])
        raise CheckFailed(
            "every pod is ready" + (" with its side-car" if sidecar else ""),
            expected=f"{len(found)} of {len(found)} ready",
            seen=f"{len(found) - len(unready)} ready; {seen}",
            samples=len(found),
            likely_cause="injection did not happen: the webhook or the namespace's label"
            if first.ready
            else "the first bad event or container state above",
            next_command=f"kubectl -n {first.namespace} describe pod {first.name}",
        )
    return Evidence(
        "every pod is ready",
        f"{len(found)} of {len(found)} ready",
        {"pods": len(found), "restarts": sum(one.restarts for one in found)},
    )


def absent(found: Sequence[Readiness]) -> Evidence:
    """There is none of them."""
    if found:
        first = found[0]
        raise CheckFailed(
            "the remote cluster runs no control plane of its own",
            expected="no istiod pod in the remote",
            seen=", ".join(f"{one.namespace}/{one.name}" for one in found[:_SHOWN]),
            samples=len(found),
            likely_cause="a primary profile was installed into the remote",
            next_command=f"kubectl -n {first.namespace} get deployments",
        )
    return Evidence("the remote cluster runs no control plane of its own", "0 istiod in the remote", {"pods": 0})


def versions_run_only_in(running: Mapping[str, Mapping[str, int]], expected: Mapping[str, str]) -> Evidence:
    """Each cluster runs pods of its own version and of no other."""
    _require_samples([version for versions in running.values() for version in versions], "helloworld pods")
    if {cluster: set(versions) for cluster, versions in running.items()} != {
        cluster: {version} for cluster, version in expected.items()
    }:
        raise CheckFailed(
            "each version runs in exactly one cluster",
            expected=", ".join(f"{version} only in {cluster}" for cluster, version in expected.items()),
            seen=", ".join(f"{cluster}: {dict(versions) or 'none'}" for cluster, versions in running.items()),
            samples=sum(sum(versions.values()) for versions in running.values()),
            likely_cause="helloworld.yaml was applied with -l app=helloworld, which selects both versions"
            if any(len(versions) > 1 for versions in running.values())
            else "a version was deployed into the wrong cluster, or not at all",
            next_command="kubectl -n sample get pods -L version",
        )
    pods = sum(sum(versions.values()) for versions in running.values())
    return Evidence(
        "each version runs in exactly one cluster",
        ", ".join(f"{version} in {cluster}" for cluster, version in expected.items()),
        {"pods": pods},
    )


def networks_are_separate(route: Route, *, near: Attempt, far: Attempt) -> Evidence:
    """The near pod answers at its own address, so the far pod's silence means something."""
    if not near.reached:
        raise EnvironmentBroke(
            f"{route}: even the pod of the client's own network is not reached at its address",
            seen=f"{near.target.name} at {near.target.ip}: {near.error or near.status}",
            next_command="kubectl -n sample get pods -o wide",
        )
    if far.seconds >= durations.current().dial and not far.reached:
        raise CheckFailed(
            f"{route}: the networks are separate",
            expected=f"{far.target.ip} refused at once",
            seen=f"no answer from {far.target.ip} until it was given up after {far.seconds:.2f} s",
            samples=2,
            likely_cause="the packets leave the test network by a node's default route and are dropped",
            next_command=f"ip route get {far.target.ip}",
        )
    if far.reached:
        raise CheckFailed(
            f"{route}: the networks are separate",
            expected=f"no answer from {far.target.ip} but through a gateway",
            seen=f"pod {far.target.name} answered {far.status} at {far.target.ip} after {far.seconds:.2f} s",
            samples=2,
            likely_cause="a route joins the two pod ranges: the clusters are on one network",
            next_command=f"ip route get {far.target.ip}",
        )
    return Evidence(
        f"{route}: the networks are separate",
        f"refused in {far.seconds:.2f} s",
        {"seconds": far.seconds, "status": far.status, "error": far.error},
        addresses=(near.target.ip, far.target.ip),
    )


def all_answered(replies: Sequence[Reply], route: Route) -> Evidence:
    """Every request was answered by helloworld; none was sent again."""
    _require_samples(replies, "requests")
    lost = [reply for reply in replies if not reply.answered]
    if lost:
        kinds = Counter(map(_why_lost, lost))
        seen = ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common(_SHOWN))
        raise CheckFailed(
            f"{route}: every request is answered",
            expected=f"{len(replies)} of {len(replies)} answered, none retried",
            seen=f"{len(replies) - len(lost)} answered; {seen}",
            samples=len(replies),
            likely_cause="the side-car holds an endpoint that cannot be reached: "
            "a pod address of the other network, or a wrong gateway address",
            next_command="istioctl proxy-config endpoints deploy/sleep -n sample "
            "--cluster 'outbound|5000||helloworld.sample.svc.cluster.local'",
        )
    return Evidence(
        f"{route}: every request is answered",
        f"{len(replies)} answered",
        {"requests": len(replies)},
    )


def both_versions_answer(replies: Sequence[Reply], route: Route) -> Evidence:
    """Both versions answer, each as often as equal endpoints do but for one run in a million."""
    answers = [reply.version for reply in replies if reply.version]
    _require_samples(answers, "answers")
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
            likely_cause="istiod does not see the other cluster: its remote secret is missing or refused"
            if missing == [far]
            else f"pods of {', '.join(sorted(strangers))} are behind the service"
            if strangers
            else "endpoints are weighted, a locality is preferred, or one side has more pods",
            next_command="istioctl remote-clusters",
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
    _require_samples(range(joined.requests), "requests")
    _require_samples([*joined.pairs, *joined.ambiguous], "log lines: the access log is off")
    if joined.unjoined or joined.ambiguous:
        raise CheckFailed(
            f"{route}: every reply is joined to its own log line",
            expected=f"{joined.requests} of {joined.requests} joined",
            seen=f"{len(joined.pairs)} joined, {len(joined.unjoined)} without a line, "
            f"{len(joined.ambiguous)} with several",
            samples=joined.requests,
            likely_cause="a second proxy on the way logs the same id, a side-car retried, or lines were dropped",
            next_command="kubectl -n sample logs deploy/sleep -c istio-proxy --tail 20",
        )
    return Evidence(
        f"{route}: every reply is joined to its own log line",
        f"{joined.requests} joined",
        {"requests": joined.requests, "joined": len(joined.pairs), "unjoined": 0},
    )


def path_proof(joined: Joined, route: Route, *, near_pods: Collection[str], far_gateway: Collection[str]) -> Evidence:
    """The far version went through the far gateway, and the near version to a near pod."""
    _require_samples(joined.pairs, "joined replies")
    near, far = VERSION_OF[route.near], VERSION_OF[route.far]
    wanted = {near: frozenset(near_pods), far: frozenset(far_gateway)}
    if not near_pods or not far_gateway or wanted[near] & wanted[far]:
        raise EnvironmentBroke(
            f"{route}: the two paths cannot be told apart by their addresses",
            seen=f"{near} at {_either(near_pods)}, {far} through {_either(far_gateway)}",
        )
    every_reply_joined(joined, route)
    strayed = [pair for pair in joined.pairs if pair.line.upstream_host not in wanted.get(pair.reply.version or "", ())]
    if strayed:
        raise CheckFailed(
            f"{route}: each version takes its own path",
            expected=f"{far} through {_either(far_gateway)}, {near} straight at {_either(near_pods)}",
            seen=_paths(strayed, len(joined.pairs)),
            samples=len(joined.pairs),
            likely_cause="the clusters are swapped: the context of one stands for the other"
            if _swapped(joined.pairs, near, far, wanted)
            else _why_strayed(strayed, near, far, wanted),
            next_command="istioctl proxy-config endpoints deploy/sleep -n sample "
            "--cluster 'outbound|5000||helloworld.sample.svc.cluster.local'",
        )
    counts = Counter(pair.reply.version for pair in joined.pairs)
    if not (counts[near] and counts[far]):
        raise CheckFailed(
            f"{route}: each version takes its own path",
            expected=f"replies from {near} and from {far}",
            seen=f"{counts[near]} from {near}, {counts[far]} from {far}",
            samples=len(joined.pairs),
            likely_cause="only one network answers, so no path was proven",
            next_command="istioctl remote-clusters",
        )
    samples = [next(pair.line.raw for pair in joined.pairs if pair.reply.version == version) for version in (near, far)]
    return Evidence(
        f"{route}: each version takes its own path",
        f"{counts[far]} via :{next(iter(far_gateway)).rpartition(':')[2]}, {counts[near]} direct",
        {f"{far}_through_gateway": counts[far], f"{near}_at_its_pod": counts[near]},
        sample_lines=tuple(samples),
        addresses=(*sorted(near_pods), *sorted(far_gateway)),
    )


def _why_lost(reply: Reply) -> str:
    if not reply.error:
        return f"HTTP {reply.status}" + (" not from helloworld" if reply.status == 200 else "")
    # curl says after how many milliseconds: without that, a thousand time-outs are of one kind.
    return re.sub(r" after \d+ (ms|milliseconds)", "", reply.error)


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
        for (version, host, flags), count in kinds.most_common(_SHOWN)
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


def _either(addresses: Collection[str]) -> str:
    return " or ".join(sorted(addresses)) or "nothing known"


def _require_samples(samples: Sequence[object], what: str) -> None:
    """Raise EnvironmentBroke for none at all: nothing was looked at, so nothing can be said."""
    if not samples:
        raise EnvironmentBroke(f"there are no {what} to judge by", seen="0 samples")
