"""Losses that proxies hide: attempts beside the requests that were sent, and connections made late or never."""

from __future__ import annotations

from collections.abc import Collection

from splithorizon.base import statistics
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, require_samples
from splithorizon.checks.next_steps import endpoints_of
from splithorizon.checks.suspects import far_endpoint_unreachable, far_version_missing
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.info import NetworkMode
from splithorizon.traffic.client import Sample
from splithorizon.traffic.new_connections import LEFT_OUT, LOSS_RATE, Losses, NewConnections
from splithorizon.traffic.upstream_counts import Hidden

_FORBIDDEN = "HTTP 403"


def no_hidden_attempts(sample: Sample, *, near_pods: Collection[str], mode: NetworkMode) -> Evidence:
    """The client's sidecar made one attempt for each request, by its own counters of each endpoint.

    Raises EnvironmentBroke where an endpoint left during the batch, or a counter went backwards.
    """
    require_samples(sample.replies, "requests")
    attempts, route = sample.attempts, sample.route
    require_samples(sorted(attempts.after), "endpoints whose counters could be read")
    claim = f"{route}: the sidecar makes one attempt for each request"
    if attempts.broken_off:
        raise EnvironmentBroke(
            f"{route}: the sidecar's endpoints changed while the batch was sent, so that its counters say nothing",
            seen=attempts.broken_off,
            next_command=endpoints_of(route.near),
        )
    hidden = sample.hidden
    failed = sum(one.failed_connections for one in hidden.values())
    resent = max(0, sum(one.resent for one in hidden.values()) - sample.server_errors)
    # A request without a line of its own may be any of these attempts.
    unlogged = len(sample.replies) - len(sample.matched.pairs)
    numbers = {
        "requests": len(sample.replies),
        "failed_connections": failed,
        "resent_requests": resent,
        "resent_on_old_connections": sum(one.on_old_connections for one in hidden.values()),
        "server_errors": sample.server_errors,
        "errors": sum(grown.rq_error for grown in attempts.increases.values()),
        "timeouts": sum(grown.rq_timeout for grown in attempts.increases.values()),
    }
    if failed + resent > unlogged:
        worst = sorted(hidden, key=lambda one: -hidden[one].failed_connections - hidden[one].resent)
        raise CheckFailed(
            claim,
            expected=f"{len(sample.replies)} attempts for {len(sample.replies)} requests",
            seen="; ".join(_said(address, hidden[address], sample) for address in worst[:SHOWN]),
            samples=len(sample.replies),
            causes=_why_hidden(worst[0], sample, near_pods, mode),
            next_command=endpoints_of(route.near),
            where=route,
            numbers=numbers,
        )
    return Evidence(claim, f"{len(sample.replies)} attempts", numbers, addresses=tuple(sorted(attempts.increases)))


def _said(address: str, hidden: Hidden, sample: Sample) -> str:
    parts = [
        f"{hidden.failed_connections} connections failed" if hidden.failed_connections else "",
        f"{hidden.resent} requests were sent again" if hidden.resent else "",
        "ejected by outlier detection" if address in sample.attempts.ejected else "",
    ]
    return f"at {address} {', '.join(part for part in parts if part)}, which no line of the access log shows"


def _why_hidden(address: str, sample: Sample, near_pods: Collection[str], mode: NetworkMode) -> tuple[Cause, ...]:
    if not sample.hidden[address].failed_connections:
        return (causes.CONNECTION_CUT,)
    if address in near_pods:
        return (causes.PODS_NOT_SERVING,)
    if address not in sample.attempts.refused_at:
        return (causes.CONNECTIONS_DROPPED, causes.GATEWAY_CONNECTION_BROKEN)
    if sample.attempts.served_at - {*near_pods}:
        return (causes.GATEWAY_ADDRESS_REFUSES,)
    return far_endpoint_unreachable(mode)


def new_connections_made(found: NewConnections, *, mode: NetworkMode) -> Evidence:
    """New connections to the far network are made and answered, and none later than most of them.

    A late one took 0.9 s or more beyond the median of the batch. A long way alone refutes nothing.
    Raises EnvironmentBroke where the near network makes connections late as well: then the client itself is held up.
    And where more rounds stood still as a whole than may: lost packets would delay some connections of each; rounds in
    which the near network stood still too are left out, as long as enough others are there. And where
    connections are late, or not answered in time, that wait for each other, as on a machine that is too busy.
    """
    route, losses, near, every = found.route, found.losses, found.near_losses, found.all_losses
    require_samples(range(losses.connections), "connections")
    claim = f"{route}: new connections to the far network are made, and without delay"
    accepted = statistics.most(losses.connections, LOSS_RATE)
    numbers: dict[str, float | str] = {
        "connections": losses.connections,
        "late": losses.late,
        "failed": losses.failed,
        "accepted": accepted,
        "false_alarm": statistics.FALSE_ALARM,
        "median_seconds": round(found.median, 3),
        "connections_of_all_rounds": every.connections,
        "late_of_all_rounds": every.late,
        "failed_of_all_rounds": every.failed,
        "near_connections": near.connections,
        "near_late": near.late,
        "near_failed": near.failed,
        "addresses": ", ".join(sorted(found.attempts.increases)) or "none",
    }
    if losses.exceed():
        if Losses(losses.connections, losses.late, 0).exceed() and Losses(near.connections, near.late, 0).exceed():
            raise EnvironmentBroke(
                f"{route}: the client is held up: it makes connections late within its own network as well",
                seen=f"near: {near}; far: {losses}",
            )
        if found.too_queued and not Losses(losses.connections, 0, losses.failed - losses.timed_out).exceed():
            raise EnvironmentBroke(
                f"{route}: connections wait for each other: those late, or not answered in time, cannot be told "
                "from lost packets",
                seen=f"{losses}, median {found.median:.3f} s",
            )
        raise CheckFailed(
            claim,
            expected=f"at most {accepted} of {losses.connections} late by 0.9 s beyond the median, or failed "
            f"({LOSS_RATE:.0%}, exact binomial, false alarm {statistics.FALSE_ALARM:g}; "
            f"without the worst {LEFT_OUT} rounds)",
            seen=f"{losses}, median {found.median:.3f} s; within the near network {near}"
            + "".join(f"; {count} x {why}" for why, count in found.failures.most_common(SHOWN)),
            samples=losses.connections,
            causes=_why_lost(found, mode),
            next_command=endpoints_of(route.near),
            where=route,
            numbers=numbers,
        )
    if found.standstills > LEFT_OUT or not found.enough_judged:
        raise EnvironmentBroke(
            f"{route}: whole rounds of connections stood still at once, as they do on a machine that is too busy",
            seen=f"{found.standstills + found.held_up} of {len(found.far)} rounds, {found.held_up} of them within the "
            f"near network as well; of the others {losses}",
        )
    return Evidence(
        claim,
        f"{every.connections} new, {every.count} lost",
        numbers,
        expected_interval=(0, accepted),
        addresses=tuple(sorted(found.attempts.increases)),
    )


def _why_lost(found: NewConnections, mode: NetworkMode) -> tuple[Cause, ...]:
    every = found.all_losses
    if {*found.failures} == {_FORBIDDEN}:
        return (causes.POLICY_DENIES,)
    if every.failed == every.connections:
        return far_version_missing(mode)
    if found.losses.late > found.losses.failed:
        return (causes.CONNECTIONS_DROPPED,)
    if found.refused_at and found.attempts.served_at:
        return (causes.GATEWAY_ADDRESS_REFUSES,)
    return (
        causes.CONNECTIONS_DROPPED,
        causes.GATEWAY_CONNECTION_BROKEN,
        causes.STALE_ENDPOINT,
        causes.POD_WITHOUT_SIDECAR,
        causes.PODS_NOT_SERVING,
    )
