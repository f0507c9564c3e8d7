"""Formats a comparison of reports for people, as plain lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from statistics import median

from splithorizon.run.comparing import (
    COUNTS_BY_CHANCE,
    MINIMAL_DELAY_SECONDS,
    MINIMAL_DELAY_SHARE,
    MINIMAL_LOSS,
    MINIMAL_SHARE,
    REPORTS_FOR_TIMES,
    TIMES_BY_CHANCE,
)
from splithorizon.run.comparison import Change, Comparison, CountChange, RecoveryTimes

_REGRESSION = "REGRESSION "


def lines(comparison: Comparison) -> Iterator[str]:
    """The lines, indented by two below each heading. The last line is the result."""
    yield f"before: {_runs(comparison.before)}"
    yield f"after:  {_runs(comparison.after)}"
    yield from _section("run", map(_change, comparison.run))
    yield from _section("versions", map(_change, comparison.versions))
    yield from _section("conditions", map(_change, comparison.conditions))
    yield from _section(
        "verdicts",
        (
            f"{_mark(one.regression)}{_where(one.behaviour, one.route)}: {one.before} → {one.after}"
            for one in comparison.verdicts
        ),
    )
    yield from _section("behaviours", _presence(comparison))
    yield from _section(f"counts ({how_counts_are_compared(comparison)})", map(count_line, comparison.counts))
    yield from _section("counts that differ within one side, and were not compared", comparison.counts_varying)
    yield from _section("other numbers", map(_change, comparison.facts))
    yield from _section(f"recovery times ({how_times_are_compared()})", map(recovery_line, comparison.recovery))
    yield result(comparison)


def result(comparison: Comparison) -> str:
    """The result in one line."""
    others = comparison.differences - comparison.regressions
    if not comparison.differences:
        return f"no difference; {comparison.counts_compared} counts compared"
    return f"{_number(comparison.regressions, 'regression')}, {_number(others, 'other difference')}"


def how_counts_are_compared(comparison: Comparison) -> str:
    """The test, its false-alarm probability and the minimal differences."""
    return (
        f"Fisher's exact test on {comparison.counts_compared}, Holm's correction, {COUNTS_BY_CHANCE:g} for all; "
        f"from {MINIMAL_SHARE:.0%} of all answers, {MINIMAL_LOSS:.1%} for losses"
    )


def how_times_are_compared() -> str:
    """The test, and what it takes."""
    return (
        f"judged with {REPORTS_FOR_TIMES} or more a side: exact rank-sum test, Holm's correction, {TIMES_BY_CHANCE:g} "
        f"for all; from {MINIMAL_DELAY_SHARE:.0%} and {MINIMAL_DELAY_SECONDS:g} s"
    )


def count_line(one: CountChange) -> str:
    """A count on both sides."""
    return (
        f"{_mark(one.regression)}{_where(one.behaviour, one.route)}: {one.name}: "
        f"{_share(one.before, one.before_of)} → {_share(one.after, one.after_of)}, p = {one.p_value:.2g}"
    )


def recovery_line(one: RecoveryTimes) -> str:
    """Recovery times on both sides."""
    judged = "" if one.p_value is None else f", p = {one.p_value:.2g}"
    return (
        f"{_mark(one.regression)}{_where(one.behaviour, one.route)}: {one.state}: "
        f"{_times(one.before)} → {_times(one.after)}{judged}"
    )


def _section(title: str, entries: Iterable[str]) -> Iterator[str]:
    found = list(entries)
    if found:
        yield title
        yield from (f"  {entry}" for entry in found)


def _presence(comparison: Comparison) -> Iterator[str]:
    """One line for each behaviour, with all its routes."""
    for (behaviour, state, reason), group in groupby(
        comparison.presence, key=lambda one: (one.behaviour, one.state, one.reason)
    ):
        routes = ", ".join(one.route for one in group if one.route)
        yield f"{state}: {_where(behaviour, routes)}{f' (the other side: {reason})' if reason else ''}"


def _runs(ids: Sequence[str]) -> str:
    shown = ", ".join(ids[:3])
    return shown if len(ids) <= 3 else f"{len(ids)} runs: {shown}, …"


def _change(one: Change) -> str:
    return f"{one.name}: {one.before or '-'} → {one.after or '-'}"


def _mark(regression: bool) -> str:
    return _REGRESSION if regression else ""


def _where(behaviour: str, route: str) -> str:
    return f"{behaviour} ({route})" if route else behaviour


def _share(count: int, of: int) -> str:
    return f"{count:,} of {of:,} ({count / of:.1%})"


def _times(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f} s"
    return f"{median(values):.1f} s ({min(values):.1f} to {max(values):.1f}, {len(values)} runs)"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
