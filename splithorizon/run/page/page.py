"""The page of a run, ``index.html``: one file for people, without a script and without anything from the network.

It shows what ``report.json`` has. Every text is escaped, because much of it comes from the mesh.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from splithorizon.base import private_file
from splithorizon.run import comparison_text, measured, report_text, watch_text
from splithorizon.run.page import picture, templates, timeline
from splithorizon.run.report import BehaviourResult, Evidence, RunReport

NAME = "index.html"
_BESIDE = ("report.json", "summary.md", "junit.xml", "conformance.yaml", "diagnostics/index.html")
MOST_BYTES = 1_000_000
"""A page is smaller than this; long texts are shortened until it is."""

_PLOT_FROM, _PLOT_TO = 10, 310
_BAR = 200


@dataclass(frozen=True)
class Limit:
    """How much of long texts is shown."""

    lines: int
    characters: int


_LIMITS = (Limit(lines=20, characters=20_000), Limit(lines=3, characters=1_500), Limit(lines=0, characters=300))


@dataclass(frozen=True)
class Mark:
    """A count in a plot, and whether it is in the interval."""

    at: int
    inside: bool


@dataclass(frozen=True)
class Plot:
    """Counts against the interval of those that would have been accepted, from 0 to their total."""

    text: str
    low: int
    high: int
    total: int
    low_at: int
    high_at: int
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Bar:
    """A part of a whole, as a bar."""

    text: str
    start: int
    width: int
    failed: bool = False


@dataclass(frozen=True)
class EvidenceView:
    """The evidence of one check, as it is shown."""

    claim: str
    numbers: tuple[tuple[str, str], ...]
    plots: tuple[Plot, ...]
    lines: tuple[str, ...]
    addresses: tuple[str, ...]
    left_out: int


@dataclass(frozen=True)
class ResultView:
    """The result of one behaviour on one route, as it is shown."""

    result: BehaviourResult
    failure: str
    hint: str
    plots: tuple[Plot, ...]
    evidence: tuple[EvidenceView, ...]


@dataclass(frozen=True)
class Group:
    """The results of one behaviour."""

    area: str
    behaviour: str
    claim: str
    profile: str
    failed: bool
    results: tuple[ResultView, ...]


@dataclass(frozen=True)
class Recovery:
    """How long a state took to return."""

    behaviour: str
    route: str
    state: str
    seconds: float
    within: float
    reached: bool
    bar: Bar


def write(report: RunReport, folder: Path) -> Path:
    """Write the page of a report atomically, and return its path.

    ``report`` has to be the result of ``report_file.load``, because that has been redacted.
    """
    path = folder / NAME
    beside = [name for name in _BESIDE if (folder / name).exists()]
    private_file.write(path, render(report, beside=beside), mode=private_file.SHARED)
    return path


def render(report: RunReport, *, beside: Sequence[str] = ()) -> str:
    """The page, with long texts shortened until it is small enough, and links to the files that lie beside it."""
    text = ""
    for limit in _LIMITS:
        text = _render(report, limit, beside)
        if len(text.encode()) < MOST_BYTES:
            break
    return text


def _render(report: RunReport, limit: Limit, beside: Sequence[str]) -> str:
    phases = report_text.phases_of(report)
    return templates.render(
        "page.html.j2",
        report=report,
        beside=beside,
        shortened=limit is not _LIMITS[0],
        glyph={verdict.value: glyph for verdict, glyph in report_text.GLYPH.items()},
        counts=report_text.count_lines(report),
        reason=_cut(report_text.reason(report), limit),
        environment=report_text.environment(report),
        causes=list(report_text.causes(report)),
        pictures=picture.pictures(report),
        width=picture.WIDTH,
        height=picture.HEIGHT,
        groups=list(_groups(report, limit)),
        not_claimed=report_text.not_claimed(report),
        recovery=list(_recovery(report)),
        timelines=timeline.timelines(report.watch),
        timeline_width=timeline.WIDTH,
        timeline_height=timeline.HEIGHT,
        event_rows=timeline.rows(report.watch),
        phase_rows=timeline.phase_rows(report.watch),
        watch_text="" if report.watch is None else "\n".join(watch_text.lines(report.watch)),
        comparison="" if report.comparison is None else "\n".join(comparison_text.lines(report.comparison)),
        comparison_result="" if report.comparison is None else comparison_text.result(report.comparison),
        whole=report_text.whole_command(report),
        again=report_text.rerun_command(report),
        steps=list(_steps(report, phases.total)),
        phases=phases.line(),
        total=phases.total,
    )


def _groups(report: RunReport, limit: Limit) -> Iterator[Group]:
    """Behaviours with a failed result first."""
    groups = []
    for _, found in groupby(report_text.ordered(report), key=lambda result: (result.area, result.behaviour)):
        results = list(found)
        failed = any(result.verdict in report_text.FAILED for result in results)
        views = tuple(_result(report, result, limit) for result in results)
        first = results[0]
        groups.append(Group(first.area, first.behaviour, first.claim, first.profile, failed, views))
    yield from sorted(groups, key=lambda group: not group.failed)


def _result(report: RunReport, result: BehaviourResult, limit: Limit) -> ResultView:
    # The interval and the numbers of a refutation are those of the check that refuted.
    refuted = Evidence(result.claim, result.numbers, result.expected_interval)
    return ResultView(
        result=replace(result, claim=_cut(result.claim, limit)),
        failure=_cut(result.failure, limit),
        hint=report_text.how_to_keep(report, result.next_command),
        plots=tuple(_plots(refuted)),
        evidence=tuple(_evidence(evidence, limit) for evidence in result.evidence),
    )


def _evidence(evidence: Evidence, limit: Limit) -> EvidenceView:
    return EvidenceView(
        claim=evidence.claim,
        numbers=tuple((name.replace("_", " "), _number(value)) for name, value in evidence.numbers.items()),
        plots=tuple(_plots(evidence)),
        lines=tuple(_cut(line, limit) for line in evidence.sample_lines[: limit.lines]),
        addresses=evidence.addresses,
        left_out=max(0, len(evidence.sample_lines) - limit.lines),
    )


def _number(value: object) -> str:
    match value:
        case bool() | str() | None:
            return str(value)
        case int():
            return f"{value:,}"
        case _:
            return f"{value:.4g}"


def _plots(evidence: Evidence) -> Iterator[Plot]:
    """The counts of versions, where the check has an interval for them."""
    counts, total = measured.versions(evidence.numbers)
    if evidence.expected_interval is None or not total:
        return
    low, high = (int(limit) for limit in evidence.expected_interval)
    shown = ", ".join(f"{name} {count:,}" for name, count in counts.items())

    def place(count: int) -> int:
        return _PLOT_FROM + round((_PLOT_TO - _PLOT_FROM) * min(count, total) / total)

    yield Plot(
        text=f"{shown} of {total:,}; {low:,} to {high:,} accepted",
        low=low,
        high=high,
        total=total,
        low_at=place(low),
        high_at=place(high),
        marks=tuple(Mark(place(count), low <= count <= high) for count in counts.values()),
    )


def _recovery(report: RunReport) -> Iterator[Recovery]:
    for one in measured.recovery_times(report):
        text = f"{one.seconds:.1f} s" + (f" of {one.within:g} s" if one.within else "")
        bar = Bar(text, 0, _scaled(one.seconds, one.within or one.seconds), failed=not one.reached)
        yield Recovery(*one.key, one.seconds, one.within, one.reached, bar)


def _steps(report: RunReport, total: float) -> Iterator[tuple[str, float, Bar]]:
    for step in sorted(report.steps, key=lambda step: (step.started_after, -step.seconds)):
        text = f"from {step.started_after:.1f} s for {step.seconds:.1f} s"
        start = min(_BAR - 1, _scaled(step.started_after, total))
        width = min(_BAR - start, max(1, _scaled(step.seconds, total)))
        yield report_text.step_label(step), step.seconds, Bar(text, start, width, step.outcome == "failed")


def _scaled(part: float, whole: float) -> int:
    return round(_BAR * min(1.0, part / whole)) if whole else 0


def _cut(text: str, limit: Limit) -> str:
    """A text with its end, which says most in a traceback, where it is too long."""
    if len(text) <= limit.characters:
        return text
    half = limit.characters // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters in report.json …\n{text[-half:]}"
