"""Each version by its own path: the near one straight at its pod, the far one through the far network's gateway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks.judging import CheckFailed, Evidence, PathCount, either, require_samples
from splithorizon.checks.matched import every_reply_matched, ways_of
from splithorizon.checks.next_steps import endpoints_of
from splithorizon.checks.suspects import far_pods_dialled, far_version_missing, near_version_missing, not_answered
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.horizon import Horizon
from splithorizon.istio.info import NetworkMode
from splithorizon.istio.topology import Route, Way
from splithorizon.traffic.correlate import Matched, MatchedReply

# A proxy that forwards to ever other addresses does not fill a report.
_PATHS_COUNTED = 20


@dataclass(frozen=True, slots=True)
class _TwoPaths:
    """A route's two versions, and the addresses at which the client's sidecar must reach each."""

    route: Route
    near: str
    far: str
    near_pods: frozenset[str]
    # Those of all clusters of the client's network.
    network_pods: frozenset[str]
    # The far network's gateways; within one network the far pods.
    to_far: frozenset[str]
    far_pods: frozenset[str]
    mode: NetworkMode
    # Whether connections to the far side are answered by the far version alone.
    far_alone: bool

    @property
    def wanted(self) -> dict[str, frozenset[str]]:
        """The addresses by the version that must be reached there."""
        return {self.near: self.near_pods, self.far: self.to_far}

    @property
    def ways(self) -> dict[str, Way]:
        """The way that each known address stands for."""
        beyond = self.far_pods if self.route.across_networks else frozenset[str]()
        return {
            **dict.fromkeys(beyond, Way.FAR_POD),
            **dict.fromkeys(self.near_pods, Way.NEAR_POD),
            **dict.fromkeys(self.to_far, Way.FAR_GATEWAY if self.route.across_networks else Way.FAR_POD),
        }

    def strays(self, pair: MatchedReply) -> bool:
        """Whether this reply came by another address than its version's."""
        return pair.line.upstream_host not in self.wanted.get(pair.reply.version or "", ())


def path_proof(matched: Matched, route: Route, *, horizon: Horizon, versions: Mapping[str, str]) -> Evidence:
    """The far version went through its network's gateway, and the near version to a pod of its own.

    On one network the far version is reached at its pod. Answers of other clusters are other routes' to judge.
    """
    require_samples(matched.pairs, "joined replies")
    two = _two_paths(route, horizon, versions)
    every_reply_matched(matched, route)
    others = {*versions.values()} - {two.near, two.far}
    pairs = [pair for pair in matched.pairs if pair.reply.version not in others]
    _require_own_paths(pairs, two)
    counts = Counter(pair.reply.version for pair in pairs)
    _require_both(counts, pairs, two)
    return _evidence(counts, pairs, two)


def _two_paths(route: Route, horizon: Horizon, versions: Mapping[str, str]) -> _TwoPaths:
    two = _TwoPaths(
        route=route,
        near=versions[route.near],
        far=versions[route.far],
        near_pods=frozenset(horizon.pods[route.near]),
        network_pods=horizon.near_pods,
        to_far=frozenset(horizon.ways_to(route.far)),
        far_pods=frozenset(horizon.pods[route.far]),
        mode=horizon.mode,
        # Few connections to a far network's gateway settle which of several clusters behind it answers.
        far_alone=not route.across_networks or len(horizon.sharing(route.far)) == 1,
    )
    if not two.near_pods or not two.to_far or two.wanted[two.near] & two.wanted[two.far]:
        raise EnvironmentBroke(
            f"{route}: the addresses do not distinguish the two paths",
            seen=f"{two.near} at {either(two.near_pods)}, {two.far} through {either(two.to_far)}",
        )
    return two


def _require_own_paths(pairs: Sequence[MatchedReply], two: _TwoPaths) -> None:
    misrouted = [pair for pair in pairs if two.strays(pair)]
    if not misrouted:
        return
    if _swapped(pairs, two):
        why: tuple[Cause, ...] = (causes.CONTEXTS_SWAPPED,)
    elif two.route.across_networks:
        why = _why_misrouted(misrouted, two)
    else:
        why = _why_astray_within(misrouted, two)
    raise CheckFailed(
        _claim(two.route),
        expected=f"{two.far} {'through' if two.route.across_networks else 'straight at'} {either(two.to_far)}, "
        f"{two.near} straight at {either(two.near_pods)}",
        seen=ways_of(misrouted, len(pairs)),
        samples=len(pairs),
        causes=why,
        next_command=endpoints_of(two.route.near),
        where=two.route,
        paths=_counted_paths(pairs, two),
    )


def _require_both(counts: Counter[str | None], pairs: Sequence[MatchedReply], two: _TwoPaths) -> None:
    if counts[two.near] and (counts[two.far] or not two.far_alone):
        return
    near_missing = counts[two.far] or not two.route.across_networks
    raise CheckFailed(
        _claim(two.route),
        expected=f"replies from {two.near} and from {two.far}",
        seen=f"{counts[two.near]} from {two.near}, {counts[two.far]} from {two.far}",
        samples=len(pairs),
        causes=near_version_missing() if near_missing else far_version_missing(two.mode),
        next_command=endpoints_of(two.route.near),
        where=two.route,
        paths=_counted_paths(pairs, two),
    )


def _evidence(counts: Counter[str | None], pairs: Sequence[MatchedReply], two: _TwoPaths) -> Evidence:
    samples = [
        next(pair.line.raw for pair in pairs if pair.reply.version == version)
        for version in (two.near, two.far)
        if counts[version]
    ]
    if two.route.across_networks:
        port = next(iter(two.to_far)).rpartition(":")[2]
        key_number = f"{counts[two.far]} via :{port}, {counts[two.near]} direct"
        far_number = f"{two.far}_through_gateway"
    else:
        key_number = f"{counts[two.far]} pod to pod, {counts[two.near]} direct"
        far_number = f"{two.far}_at_its_pod"
    return Evidence(
        _claim(two.route),
        key_number,
        {far_number: counts[two.far], f"{two.near}_at_its_pod": counts[two.near]},
        sample_lines=tuple(samples),
        addresses=(*sorted(two.near_pods), *sorted(two.to_far)),
        paths=_counted_paths(pairs, two),
    )


def _claim(route: Route) -> str:
    return f"{route}: each version takes its own path"


def _counted_paths(pairs: Iterable[MatchedReply], two: _TwoPaths) -> tuple[PathCount, ...]:
    """The replies by way, most first."""
    ways, wanted = two.ways, two.wanted
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


def _swapped(pairs: Sequence[MatchedReply], two: _TwoPaths) -> bool:
    """Whether both versions came, and each, every time, by the path of the other."""
    crossed: Mapping[str, Collection[str]] = {two.near: two.to_far, two.far: two.near_pods}
    seen = {pair.reply.version for pair in pairs}
    return seen == {two.near, two.far} and all(
        pair.line.upstream_host in crossed[pair.reply.version or ""] for pair in pairs
    )


def _why_misrouted(misrouted: Sequence[MatchedReply], two: _TwoPaths) -> tuple[Cause, ...]:
    hosts = {pair.line.upstream_host for pair in misrouted}
    at_near_pods = [pair.reply for pair in misrouted if pair.line.upstream_host in two.network_pods]
    if any(pair.reply.version == two.near and pair.line.upstream_host in two.to_far for pair in misrouted):
        return (causes.BOTH_VERSIONS_EVERYWHERE, causes.GATEWAY_HAIRPIN, causes.POD_FORWARDS)
    if any(reply.version == two.far for reply in at_near_pods):
        return (causes.POD_FORWARDS, causes.FAR_VERSION_RUNS_NEAR)
    if hosts == {None}:
        return (causes.SERVICE_NOT_SENT,)
    if hosts & two.far_pods:
        return far_pods_dialled(two.mode)
    if all(pair.reply.version == two.near for pair in misrouted):
        return (causes.GATEWAY_USED_FOR_NEAR, causes.PODS_REPLACED)
    if at_near_pods:
        return (causes.STRANGE_POD,) if any(reply.version for reply in at_near_pods) else not_answered(at_near_pods)
    # The far pod that had this address when the request was sent may be gone by now.
    ports = {address.rpartition(":")[2] for address in two.to_far}
    if {str(host).rpartition(":")[2] for host in hosts} <= ports:
        return (causes.GATEWAY_ADDRESS_WRONG,)
    return (causes.GATEWAY_ADDRESS_WRONG, causes.PODS_REPLACED)


def _why_astray_within(misrouted: Sequence[MatchedReply], two: _TwoPaths) -> tuple[Cause, ...]:
    """Why requests of a network that clusters share did not go to the pods of the cluster that answered."""
    hosts = {pair.line.upstream_host for pair in misrouted}
    if hosts == {None}:
        return (causes.SERVICE_NOT_SENT,)
    if hosts <= two.near_pods | two.to_far:
        return (causes.BOTH_VERSIONS_EVERYWHERE, causes.POD_FORWARDS)
    if any(pair.reply.version for pair in misrouted):
        return (causes.GATEWAY_USED_FOR_NEAR, causes.PODS_REPLACED)
    return (causes.PODS_REPLACED, causes.STRANGE_POD)
