"""Puts what a watch saw into the report's form, and judges it by its budget: one result for each route."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from splithorizon.istio.topology import Route
from splithorizon.run import report
from splithorizon.run.report import BehaviourResult
from splithorizon.run.report_text import WATCHED
from splithorizon.run.verdict import Verdict
from splithorizon.run.watch_report import (
    PhaseRoute,
    WatchCut,
    WatchedRoute,
    WatchEvent,
    WatchKept,
    WatchLoss,
    WatchPhase,
    WatchReport,
    WatchTimeline,
)
from splithorizon.traffic.sender import KEPT, Stream
from splithorizon.watch import budget as budgets
from splithorizon.watch.budget import Budget
from splithorizon.watch.events import Event, bracketing
from splithorizon.watch.phases import Phase
from splithorizon.watch.route_requests import Counts, Loss, RouteRequests, Timeline
from splithorizon.watch.watching import Watched

AREA = WATCHED
BEHAVIOUR = "watch"
CLAIM = "While the mesh was changed, requests to the far network were answered, and by its gateway"
PHASE = "phase"
PHASE_CLAIM = (
    "In this phase of the change requests to the far network were answered, by its gateway, and core holds at its end"
)
_CUTS_SHOWN = 50
_UNEXPLAINED = "not explained: nothing that was read of the mesh changed around a loss"
_NEW = "requests on new connections over HTTP/1.1"


def watch_report(watched: Watched, budget: Budget) -> WatchReport:
    """The part of the report."""
    events = watched.events.events
    routes = tuple(_route(route, requests, watched, budget) for route, requests in watched.requests.items())
    costs = [_cost(place, routes) for place in range(len(events))]
    return WatchReport(
        began=report.utc_of(watched.began),
        seconds=watched.seconds,
        rate=watched.rate,
        budget=str(budget),
        claimed=(_NEW, *(KEPT[stream] for stream in watched.streams if stream is not Stream.NEW)),
        routes=routes,
        events=tuple(_event(one, watched, *costs[place]) for place, one in enumerate(events)),
        not_seen=watched.not_seen,
        phases=tuple(_phase(place, phase, watched, budget) for place, phase in enumerate(watched.phases)),
    )


def results(watch: WatchReport, command: str) -> list[BehaviourResult]:
    """A result for each route, and for each phase. ``command`` shows more about one that is not conformant."""
    return [
        *(_result(route, watch, command) for route in watch.routes),
        *(_phase_result(number, phase, watch, command) for number, phase in enumerate(watch.phases, 1)),
    ]


def not_conformant_phases(watch: WatchReport) -> list[str]:
    """The names of the phases that are not conformant, in their order."""
    return [phase.name for phase in watch.phases if _against(phase)]


def _against(phase: WatchPhase) -> list[str]:
    """What speaks against a phase: what is over the budget on a route, and core where it is refuted."""
    found = [f"{route.route}: {text}" for route in phase.routes for text in route.exceeded]
    if phase.refuted:
        found.append(f"core at its end is {phase.core}: {', '.join(phase.refuted)}")
    return found


def _phase_result(number: int, phase: WatchPhase, watch: WatchReport, command: str) -> BehaviourResult:
    # With leading zeros: results are sorted by their texts.
    name = f"{number:02} {phase.name}"
    sent, lost = (sum(getattr(route, name) for route in phase.routes) for name in ("sent", "lost"))
    seen = _against(phase)
    verdict, failure = Verdict.CONFORMANT, ""
    if seen:
        verdict = Verdict.NOT_CONFORMANT
        failure = _refuted(PHASE_CLAIM, watch.budget, seen, sent)
    elif unjudged := _unjudged(phase):
        verdict, failure = Verdict.INCONCLUSIVE, f"{PHASE_CLAIM}: {unjudged}"
    return BehaviourResult(
        area=AREA,
        behaviour=PHASE,
        claim=PHASE_CLAIM,
        nodeid=f"{PHASE}[{name}]",
        verdict=verdict,
        seconds=phase.ended - phase.began,
        route=name,
        key_number=f"{lost:,} of {sent:,} lost, core {phase.core or 'not run'}",
        failure=failure,
        likely_cause=_likely_in(phase, watch) if seen else "",
        next_command=command if seen else "",
    )


def _likely_in(phase: WatchPhase, watch: WatchReport) -> str:
    """The events that bracket the losses of a phase, by time alone."""
    losses = [loss for route in watch.routes for loss in route.losses if phase.began <= loss.began <= phase.ended]
    if not losses:
        return f"by time: while {phase.name} was changed"
    return _by_time((loss.events for loss in losses), watch.events)


def _unjudged(phase: WatchPhase) -> str:
    """Why a phase in which nothing was lost cannot be judged; empty where it can."""
    if phase.broke:
        return phase.broke
    if silent := [route.route for route in phase.routes if not route.sent]:
        return f"no request was seen on {', '.join(silent)}"
    return "" if phase.core in (Verdict.CONFORMANT, Verdict.PARTIAL) else f"core is {phase.core or 'not run'}"


def _result(route: WatchedRoute, watch: WatchReport, command: str) -> BehaviourResult:
    verdict = Verdict.NOT_CONFORMANT if route.exceeded else Verdict.CONFORMANT
    failure = likely = ""
    if route.exceeded:
        failure = _refuted(CLAIM, watch.budget, route.exceeded, route.sent)
        likely = _likely(route, watch.events)
    elif route.unjudged:
        verdict, failure = Verdict.INCONCLUSIVE, f"{CLAIM}: {route.unjudged}"
    return BehaviourResult(
        area=AREA,
        behaviour=BEHAVIOUR,
        claim=CLAIM,
        nodeid=f"{BEHAVIOUR}[{route.route}]",
        verdict=verdict,
        seconds=watch.seconds,
        route=route.route,
        key_number=f"{route.lost:,} of {route.sent:,} lost",
        failure=failure,
        likely_cause=likely,
        next_command=command if route.exceeded else "",
    )


def _likely(route: WatchedRoute, events: Sequence[WatchEvent]) -> str:
    """The events that bracket the losses; by time alone, so that it says no more than that."""
    likely = _by_time(_beside(route), events)
    unexplained = sum(not loss.events for loss in route.losses)
    return f"{likely}; {unexplained} losses are not explained" if unexplained and likely != _UNEXPLAINED else likely


def _by_time(beside: Iterable[Sequence[int]], events: Sequence[WatchEvent]) -> str:
    """The events nearest to losses, of which ``beside`` has the places of those that bracket each."""
    places = list(dict.fromkeys(place for near in beside for place in near[:1]))
    if not places:
        return _UNEXPLAINED
    named = (f"[{one.cluster}] {one.subject}: {one.changes[0]}" for one in (events[place] for place in places[:5]))
    return f"by time: {'; '.join(named)}"


def _refuted(claim: str, budget: str, seen: Sequence[str], samples: int) -> str:
    return f"{claim}\n  expected: {budget}\n  seen:     {'; '.join(seen)}\n  samples:  {samples}"


def _beside(route: WatchedRoute) -> Iterator[tuple[int, ...]]:
    """The events beside each loss, and beside each interruption of a connection that was kept."""
    yield from (loss.events for loss in route.losses)
    yield from (cut.events for kept in route.kept for cut in kept.first)


def _cost(place: int, routes: Iterable[WatchedRoute]) -> tuple[int, float]:
    losses = [loss for route in routes for loss in route.losses if loss.events[:1] == (place,)]
    return sum(loss.lost for loss in losses), max((loss.longest for loss in losses), default=0.0)


def _event(event: Event, watched: Watched, lost: int, longest: float) -> WatchEvent:
    return WatchEvent(
        cluster=event.cluster,
        subject=event.subject,
        began=max(0.0, event.begin - watched.began),
        ended=max(0.0, event.end - watched.began),
        settled=event.settled,
        changes=tuple(event.texts),
        more=event.changes - len(event.texts),
        lost=lost,
        longest=longest,
    )


def _route(route: Route, requests: RouteRequests, watched: Watched, budget: Budget) -> WatchedRoute:
    restarted = watched.restarted.get(route.far, 0)
    kept = tuple(_kept(watched, route, stream) for stream in watched.kept.get(route, {}))
    cut = (budget.exceeded_by_cuts(one.stream, one.most, restarted) for one in kept)
    exceeded = (*budget.exceeded(requests), *filter(None, cut))
    return WatchedRoute(
        route=str(route),
        sent=requests.sent,
        answered=requests.answered,
        lost=requests.lost,
        reasons=dict(requests.reasons.counts),
        paths=dict(requests.paths.counts),
        wrong_paths=dict(requests.wrong_paths.counts),
        wrong_seconds=requests.wrong_seconds,
        longest_outage=requests.longest,
        longest_outage_began=max(0.0, requests.longest_began - watched.began) if requests.longest else 0.0,
        resolution=1 / watched.rate,
        unseen_seconds=requests.unseen_seconds,
        losses=tuple(_loss(one, watched) for one in requests.losses),
        kept=kept,
        timeline=_timeline(requests.timeline),
        exceeded=exceeded,
        unjudged="" if exceeded else budgets.unjudged(requests, watched.seconds),
    )


def _phase(place: int, phase: Phase, watched: Watched, budget: Budget) -> WatchPhase:
    counts = {route: requests.by_phase.get(place, Counts()) for route, requests in watched.requests.items()}
    return WatchPhase(
        name=phase.name,
        began=max(0.0, phase.began - watched.began),
        ended=max(0.0, (phase.ended or watched.ended) - watched.began),
        versions=phase.versions,
        core=phase.core,
        refuted=phase.refuted,
        broke=phase.broke,
        routes=tuple(
            PhaseRoute(
                route=str(route),
                sent=one.sent,
                lost=one.lost,
                longest_outage=one.longest,
                wrong_seconds=one.wrong_seconds,
                reasons=dict(one.reasons.counts),
                exceeded=tuple(budget.exceeded(one)),
            )
            for route, one in counts.items()
        ),
    )


def _loss(loss: Loss, watched: Watched) -> WatchLoss:
    return WatchLoss(
        began=max(0.0, loss.first - watched.began),
        ended=max(0.0, loss.end - watched.began),
        kind=loss.kind,
        lost=loss.lost,
        answered=loss.answered,
        longest=loss.longest,
        reasons=dict(loss.reasons),
        events=_places(watched, loss.begin, loss.first),
    )


def _kept(watched: Watched, route: Route, stream: Stream) -> WatchKept:
    connections = watched.kept[route][stream]
    cuts = sorted((cut for one in connections for cut in one.cuts[:_CUTS_SHOWN]), key=lambda cut: cut.at)
    return WatchKept(
        stream=KEPT[stream],
        connections=len(connections),
        sent=sum(one.sent for one in connections),
        lost=sum(one.lost for one in connections),
        cuts=sum(one.count for one in connections),
        most=max(one.count for one in connections),
        first=tuple(
            WatchCut(max(0.0, cut.at - watched.began), cut.kind, cut.reason, cut.seconds,
                     _places(watched, cut.at - 1.0, cut.at))
            for cut in cuts
        ),
    )  # fmt: skip


def _places(watched: Watched, begin: float, first: float) -> tuple[int, ...]:
    events = watched.events.events
    found = bracketing(events, begin, first, until=watched.ended)
    places = {id(event): place for place, event in enumerate(events)}
    return tuple(places[id(event)] for event in found[:5])


def _timeline(timeline: Timeline) -> WatchTimeline:
    buckets = timeline.buckets
    names = dict.fromkeys(name for bucket in buckets for name in bucket.paths)
    return WatchTimeline(
        width=timeline.width,
        sent=tuple(one.sent for one in buckets),
        lost=tuple(one.lost for one in buckets),
        wrong=tuple(one.wrong for one in buckets),
        paths={name: tuple(one.paths[name] for one in buckets) for name in names},
    )
