"""What a watch saw, as lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from splithorizon.run.watch_report import (
    PhaseRoute,
    WatchedRoute,
    WatchEvent,
    WatchKept,
    WatchLoss,
    WatchPhase,
    WatchReport,
)

_SHOWN = 10


def lines(watch: WatchReport) -> list[str]:
    """The whole account, at most some sixty lines; further lines are indented below those that they belong to."""
    minutes, seconds = divmod(round(watch.seconds), 60)
    found = [
        f"watched for {minutes} min {seconds} s, {watch.rate:.0f} requests a second on each route; "
        f"budget: {watch.budget}",
        f"claimed: {', '.join(watch.claimed)}",
    ]
    for phase in watch.phases:
        found += _phase(phase)
    for route in watch.routes:
        found += _route(route, watch.events)
    found += [f"events: {len(watch.events)}"] if watch.events else ["events: nothing changed"]
    # Those that cost something first of all, in the order of time.
    shown = [one for one in watch.events if one.lost][:_SHOWN]
    rest = [one for one in watch.events if one not in shown]
    shown = sorted([*shown, *rest[: max(0, 2 * _SHOWN - len(shown))]], key=lambda one: one.began)
    found += [f"  {line}" for one in shown for line in [_event(one)]]
    found += [f"  and {len(watch.events) - len(shown)} more, in report.json"] if len(shown) < len(watch.events) else []
    found += [f"not seen: {text}" for text in watch.not_seen]
    return found


def _phase(phase: WatchPhase) -> Iterator[str]:
    core = f"core at its end: {phase.core}" if phase.core else "core was not run"
    yield f"phase {phase.name}: {phase.began:.0f} to {phase.ended:.0f} s; {core}"
    yield from (f"  {text}" for text in phase.versions)
    yield from (f"  {_of_phase(route)}" for route in phase.routes)
    yield from (f"  refuted: {name}" for name in phase.refuted)
    if phase.broke:
        yield f"  broke: {phase.broke}"


def _of_phase(route: PhaseRoute) -> str:
    text = f"{route.route}: {route.sent:,} sent, {route.lost:,} lost"
    if route.reasons:
        text += f" ({', '.join(f'{count:,} {reason}' for reason, count in _most(route.reasons))})"
    if route.longest_outage:
        text += f", {route.longest_outage:.2f} s without an answer"
    if route.wrong_seconds:
        text += f", {route.wrong_seconds:.1f} s by a wrong path"
    return text


def _route(route: WatchedRoute, events: Sequence[WatchEvent]) -> Iterator[str]:
    yield f"{route.route}: {route.sent:,} sent, {route.lost:,} lost; {_counts(route.paths, route.sent)}"
    if route.reasons:
        yield f"  lost by: {', '.join(f'{count:,} {reason}' for reason, count in _most(route.reasons))}"
    if route.longest_outage:
        yield (
            f"  longest time without an answer: {route.longest_outage:.2f} s at {route.longest_outage_began:.0f} s "
            f"(to {1000 * route.resolution:.0f} ms)"
        )
    if route.wrong_seconds:
        yield f"  by a wrong path: {route.wrong_seconds:.1f} s, {_counts(route.wrong_paths, route.answered)}"
    if route.losses:
        kinds = Counter(loss.kind for loss in route.losses)
        yield f"  losses: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}"
    for loss in route.losses[:_SHOWN]:
        yield f"    {_loss(loss, events)}"
    if len(route.losses) > _SHOWN:
        yield f"    and {len(route.losses) - _SHOWN} more, in report.json"
    for kept in route.kept:
        yield f"  {_kept(kept)}"
    yield from (f"  over the budget: {text}" for text in route.exceeded)
    if route.unjudged:
        yield f"  not judged: {route.unjudged}"


def _loss(loss: WatchLoss, events: Sequence[WatchEvent]) -> str:
    by = f"beside {_named(events[loss.events[0]])}" if loss.events else "not explained"
    others = len(loss.events) - 1
    by += f" and {others} more" if others > 0 else ""
    return (
        f"{loss.kind} at {loss.began:.1f} s: {loss.lost} lost, {loss.answered} answered between, "
        f"{loss.longest:.2f} s without an answer; {by}"
    )


def _kept(kept: WatchKept) -> str:
    return f"{kept.stream}: {kept.connections} kept, {kept.sent:,} requests, {kept.lost} lost, cut {kept.cuts} times"


def _event(event: WatchEvent) -> str:
    cost = f"{event.lost} lost, {event.longest:.2f} s without an answer" if event.lost else "nothing lost"
    changes = "; ".join(event.changes[:4])
    more = event.more + max(0, len(event.changes) - 4)
    text = f"{changes}; and {more} more" if more else changes
    under_way = "" if event.settled else ", still under way"
    return f"{event.began:.0f} to {event.ended:.0f} s{under_way}: [{event.cluster}] {event.subject}: {text}: {cost}"


def _named(event: WatchEvent) -> str:
    return f"[{event.cluster}] {event.subject} at {event.began:.0f} s"


def _counts(counts: Mapping[str, int], total: int) -> str:
    return ", ".join(f"{count / max(1, total):.1%} {name}" for name, count in _most(counts)) or "no path known"


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return Counter(counts).most_common(_SHOWN)
