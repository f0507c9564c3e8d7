"""Whether a mesh gets over a loss: what goes on meanwhile, how soon all is back, and by which path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, either, require_samples, why_lost
from splithorizon.checks.next_steps import endpoints_of, logs_of, remote_clusters_of
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.disruption.recovery import Batch, Recovery, Replacement, Traffic


def recovered(recovery: Recovery) -> Evidence:
    """Every version answered every client again within the bound, after a remote secret or istiod was given back."""
    why = (causes.REMOTE_SECRET_REFUSED, causes.WATCH_HANGS, causes.PUSH_LATE)
    return _in_time(recovery, causes=why, next_command=remote_clusters_of(recovery.cluster))


def gateway_recovered(recovery: Recovery) -> Evidence:
    """Every version answered every client again within the bound, after a gateway or its address was given back."""
    why = (causes.GATEWAY_SERVICE_SELECTS_ABSENT_POD, causes.GATEWAY_ADDRESS_WRONG, causes.PUSH_LATE)
    return _in_time(recovery, causes=why, next_command=endpoints_of(recovery.cluster))


def new_token_followed(recovery: Recovery) -> Evidence:
    """What takes a watch of that cluster came within the bound, where istiod can only have it by a new token."""
    why = (causes.REMOTE_SECRET_REFUSED, causes.WATCH_HANGS)
    return _in_time(recovery, causes=why, next_command=remote_clusters_of(recovery.cluster))


def far_endpoints_left(recovery: Recovery) -> Evidence:
    """The endpoints of a cluster that istiod no longer watches left the clients that it manages within the bound."""
    return _in_time(
        recovery,
        causes=(causes.REMOTE_NAMED_TWICE, causes.PUSH_LATE),
        next_command=remote_clusters_of(recovery.cluster),
    )


def other_gateways_stay(recovery: Recovery) -> Evidence:
    """When istiod no longer watches one cluster, sidecars lose what it tells of that one within the bound, and no more.

    What they lose beside it are gateways of other clusters; then pods of another network stand in their place.
    """
    why = (
        causes.GATEWAY_SERVICE_WITHOUT_NETWORK,
        causes.MESH_NETWORKS_WITHOUT_GATEWAY,
        causes.REMOTE_NAMED_TWICE,
        causes.PUSH_LATE,
    )
    return _in_time(recovery, causes=why, next_command=endpoints_of(recovery.cluster))


def prefers_own_network(recovery: Recovery) -> Evidence:
    """Each client was answered by its own network alone within the bound, as our DestinationRule demands."""
    return _in_time(
        recovery,
        causes=(causes.OLDER_RULE, causes.PUSH_LATE),
        next_command=f"istioctl <config of {recovery.cluster}> x describe service helloworld -n <namespace>",
    )


def failed_over(recovery: Recovery) -> Evidence:
    """Each client was answered by what is left of its network, or else by all other clusters, within the bound."""
    why = (causes.STALE_ENDPOINT, causes.GATEWAY_NOT_SERVING)
    return _in_time(recovery, causes=why, next_command=endpoints_of(recovery.cluster))


def wrong_address_followed(recovery: Recovery) -> Evidence:
    """An address at which no gateway answers reached the sidecars within the bound."""
    why = (causes.GATEWAY_ADDRESS_NAMED_TWICE, causes.PUSH_LATE)
    return _in_time(recovery, causes=why, next_command=endpoints_of(recovery.cluster))


def goes_on_alone(recovery: Recovery) -> Evidence:
    """Clients outside the network of a gateway that is away were answered by the other networks within the bound."""
    why = (causes.RETRIES_CHANGED, causes.GATEWAY_DROPS_PACKETS)
    return _in_time(recovery, causes=why, next_command=endpoints_of(recovery.cluster))


def istiod_started(recovery: Recovery) -> Evidence:
    """A new istiod was ready within the bound."""
    return _in_time(
        recovery,
        causes=(causes.REMOTE_CLUSTER_TIMEOUT_LONG, causes.ISTIOD_MAY_NOT_READ),
        next_command=f"kubectl <istiod of {recovery.cluster}> -n <istiod of {recovery.cluster} system> "
        "logs -l app=istiod --tail 20",
    )


def scaled(recovery: Recovery) -> Evidence:
    """As many pods as wanted were ready within the bound."""
    return _in_time(
        recovery,
        causes=(causes.ISTIOD_UNREACHABLE, causes.POD_NOT_READY),
        next_command=f"kubectl <{recovery.cluster}> get events -A --sort-by .lastTimestamp",
    )


def nothing_lost(traffic: Traffic) -> Evidence:
    """Every request that was sent from before a disruption until after it was answered; none was sent again."""
    counts = {str(route): len(replies) for route, replies in traffic.replies.items()}
    for route, replies in traffic.replies.items():
        require_samples(replies, f"requests of {route}")
    lost = {str(route): [one for one in replies if not one.answered] for route, replies in traffic.replies.items()}
    numbers = {"requests": sum(counts.values()), "lost": sum(map(len, lost.values()))}
    if numbers["lost"]:
        kinds = Counter(why_lost(one) for replies in lost.values() for one in replies)
        losing = next(route for route in traffic.replies if lost[str(route)])
        raise CheckFailed(
            "no request is lost meanwhile",
            expected=f"{numbers['requests']} of {numbers['requests']} answered, none retried",
            seen=", ".join(f"{len(replies)} of {counts[route]} lost {route}" for route, replies in lost.items())
            + f"; {', '.join(f'{count} x {kind}' for kind, count in kinds.most_common(SHOWN))}",
            samples=numbers["requests"],
            causes=(causes.ENDPOINTS_REMOVED_LATE, causes.PROXY_NEEDS_ISTIOD),
            next_command=logs_of(losing.near),
            where=losing,
            numbers=numbers,
        )
    return Evidence("no request is lost meanwhile", f"{numbers['requests']} answered, 0 lost", numbers)


def losses_counted(traffic: Traffic) -> Evidence:
    """How many requests were lost meanwhile: reported, not judged. Most must be answered, or there was no traffic."""
    requests = sum(map(len, traffic.replies.values()))
    lost = sum(not one.answered for replies in traffic.replies.values() for one in replies)
    require_samples([one for replies in traffic.replies.values() for one in replies if one.answered], "answers")
    return Evidence(
        "requests lost meanwhile are counted", f"{lost} of {requests} lost", {"requests": requests, "lost": lost}
    )


def answered_as_it_should(batches: Sequence[Batch]) -> Evidence:
    """Every request was answered, by every version that had to, and each answer came by its own path."""
    require_samples([reply for batch in batches for reply in batch.sample.replies], "requests")
    requests = sum(len(batch.sample.replies) for batch in batches)
    claim = "every request is answered, by the right versions and paths"
    if troubles := [(batch.sample.route, trouble) for batch in batches for trouble in _lost(batch)]:
        raise CheckFailed(
            claim,
            expected=f"{requests} of {requests} answered, none retried",
            seen="; ".join(trouble for _, trouble in troubles),
            samples=requests,
            causes=(causes.STALE_ENDPOINT, causes.GATEWAY_SERVICE_SELECTS_ABSENT_POD),
            next_command=endpoints_of(troubles[0][0].near),
            where=troubles[0][0],
        )
    if troubles := [(batch.sample.route, trouble) for batch in batches for trouble in _misrouted(batch)]:
        raise CheckFailed(
            claim,
            expected="; ".join(map(_wanted, batches)),
            seen="; ".join(trouble for _, trouble in troubles),
            samples=requests,
            causes=(causes.STALE_ENDPOINT, causes.PUSH_LATE),
            next_command=endpoints_of(troubles[0][0].near),
            where=troubles[0][0],
        )
    return Evidence(
        claim,
        f"{requests} answered as they should",
        {"requests": requests, "joined": requests, "unjoined": 0},
        sample_lines=tuple(batch.sample.matched.pairs[0].line.raw for batch in batches),
    )


def new_pod_answers(replacement: Replacement, batches: Sequence[Batch]) -> Evidence:
    """Every answer of a cluster's version came from the pod that took the place of another."""
    version = replacement.version
    answers = [reply for batch in batches for reply in batch.sample.replies if reply.version == version]
    require_samples(answers, f"answers of {version}")
    others = Counter(str(reply.instance) for reply in answers if reply.instance != replacement.pod)
    if others:
        raise CheckFailed(
            "a pod that took another's place answers",
            expected=f"every answer of {version} from {replacement.pod}",
            seen=", ".join(f"{count} from {pod}" for pod, count in others.most_common(SHOWN)),
            samples=len(answers),
            causes=(causes.STRANGE_POD, causes.PODS_REPLACED),
            next_command=f"kubectl <{replacement.cluster}> -n <namespace> get pods -o wide",
            where=replacement.cluster,
        )
    return Evidence("a pod that took another's place answers", f"{len(answers)} answers", {"answers": len(answers)})


def _in_time(recovery: Recovery, *, causes: Sequence[Cause], next_command: str) -> Evidence:
    claim = f"in time: {recovery.state}"
    numbers: dict[str, float | str] = {
        "recovered_after": round(recovery.seconds, 2),
        "within": recovery.within,
        "state": recovery.state,
    }
    if not recovery.reached:
        raise CheckFailed(
            claim,
            expected=f"within {recovery.within:g} s",
            seen=f"after {recovery.seconds:.0f} s: {recovery.last_seen}",
            samples=1,
            causes=causes,
            next_command=next_command,
            where=recovery.cluster,
            numbers=numbers,
        )
    return Evidence(claim, f"after {recovery.seconds:.1f} s", numbers)


def _lost(batch: Batch) -> Iterator[str]:
    replies, matched = batch.sample.replies, batch.sample.matched
    logged = {
        pair.reply.request_id: f" {pair.line.response_flags or '-'} at {pair.line.upstream_host or 'no upstream'}"
        for pair in matched.pairs
    }
    lost = Counter(why_lost(one) + logged.get(one.request_id, "") for one in replies if not one.answered)
    if lost:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in lost.most_common(SHOWN))
        yield f"{batch.sample.route}: {sum(lost.values())} of {len(replies)} lost, {kinds}"


def _misrouted(batch: Batch) -> Iterator[str]:
    route, matched = batch.sample.route, batch.sample.matched
    if len(matched.pairs) < matched.requests:
        yield f"{route}: {matched.requests - len(matched.pairs)} of {matched.requests} without a log line of their own"
    ways = Counter((str(pair.reply.version), str(pair.line.upstream_host)) for pair in matched.pairs)
    for (version, host), count in ways.most_common():
        if host not in batch.paths.get(version, ()):
            yield f"{route}: {count} from {version} at {host}"
    seen = {version for version, _ in ways}
    for group in batch.groups or [frozenset({version}) for version in sorted(batch.paths)]:
        if not group & seen:
            yield f"{route}: none from {' or '.join(sorted(group))}"


def _wanted(batch: Batch) -> str:
    ways = ", ".join(f"{version} at {either(addresses)}" for version, addresses in sorted(batch.paths.items()))
    return f"{batch.sample.route}: {ways}"
