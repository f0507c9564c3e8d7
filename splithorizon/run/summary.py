"""Formats the report of a run for people: the results, the failures with their causes, and the durations."""

from __future__ import annotations

import html
import io
import re
import shlex
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import PurePath

from rich.box import Box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from splithorizon.run import comparison_text, watch_text
from splithorizon.run import report as reports
from splithorizon.run.progress import StepTime
from splithorizon.run.report import BehaviourResult, RunReport, Unclaimed
from splithorizon.run.verdict import Verdict
from splithorizon.undo.not_restored import NotRestored

WIDTH = 110
GLYPH = {
    Verdict.CONFORMANT: "✓",
    Verdict.NOT_CONFORMANT: "✗",
    Verdict.PARTIAL: "~",
    Verdict.INCONCLUSIVE: "?",
}
_STYLE = {
    Verdict.CONFORMANT: "green",
    Verdict.NOT_CONFORMANT: "red",
    Verdict.PARTIAL: "yellow",
    Verdict.INCONCLUSIVE: "yellow",
}
WATCHED = "watch"
"""The area of the results of a watch."""
FAILED = (Verdict.NOT_CONFORMANT, Verdict.INCONCLUSIVE)
# These behaviours are many, and their names are of little interest.
_COUNTED = (Unclaimed.NOT_ASKED_FOR, Unclaimed.NOT_ALLOWED, Unclaimed.NOT_RUN)

# Each character is replaced by one character, so that columns stay aligned on a terminal with ASCII only.
_ASCII = str.maketrans("✓✗→·…─█≤≥", "+x>-~-#<>")
_LINE_BELOW_HEAD = "    \n    \n ── \n    \n    \n    \n    \n    \n"
_CANNOT_SHOW = "(this terminal cannot show the characters of this command: copy it from {})"

_VERDICT_WIDTH = 16
_KEY_WIDTH = 26
_SECONDS_WIDTH = 7
_COLUMN_GAPS = 8
_STEPS_SHOWN = 8
# Tracebacks can be long. The failure of a check is shorter than this.
_FIRST_LINES, _LAST_LINES = 8, 16
_LATENT = "latent: traffic does not need it now, and the next pod, proxy or token fails"
_WHOLE = ": traffic is whole, and the next pod, proxy or token fails"
_OPTIONS_WITH_PATH = ("--deselect", "--ignore", "--ignore-glob", "--rootdir", "--confcutdir", "-c", "--report-dir")


def summary(
    report: RunReport, *, folder: PurePath | None = None, unicode: bool = True, colour: bool = False
) -> list[str]:
    """The lines to print at the end of a run, at most 110 columns wide.

    Only commands may be wider: they are printed on separate lines without wrapping, so that they can be copied.
    ``folder`` is that of the run, by default ``reports/<run>``. Without ``unicode`` every line is ASCII; a command that
    cannot be shown in ASCII is left out. ``colour`` adds escape sequences of terminals.
    ``report`` has to be the result of ``report.load``, because that has been redacted.
    """
    page = _Page(report, folder or PurePath("reports") / report.run_id, unicode=unicode, colour=colour)
    for section in (
        _not_restored,
        _root_cause,
        _tested,
        _table,
        _watch,
        _verdict,
        _failures,
        _comparison,
        _time,
        _next,
    ):
        page.begin_section()
        section(page)
    return page.lines()


class _Page:
    """The lines of the summary: prose, which is wrapped, and commands, which are not."""

    def __init__(self, report: RunReport, folder: PurePath, *, unicode: bool, colour: bool) -> None:
        self.report = report
        self.folder = folder
        self.unicode = unicode
        self._file = io.StringIO()
        self._blank_line_due = False
        self._console = Console(
            file=self._file,
            width=WIDTH,
            color_system="standard" if colour else None,
            force_terminal=colour,
            no_color=not colour,
            markup=False,
            emoji=False,
            highlight=False,
            legacy_windows=False,
            # pytest has already evaluated its option for colours, NO_COLOR and FORCE_COLOR.
            _environ={},
        )

    def begin_section(self) -> None:
        """Print a blank line before the next line, if there is one."""
        self._blank_line_due = True

    def prose(self, text: str, *, indent: int = 0, style: str = "") -> None:
        self.show(Padding(Text(self.plain(text), style), (0, 0, 0, indent)))

    def command(self, command: str, *, indent: int = 4) -> None:
        """Print a command on separate lines, neither wrapped nor shortened nor transliterated."""
        if not self.unicode and not command.isascii():
            self.prose(_CANNOT_SHOW.format(self.folder / reports.NAME), indent=indent)
            return
        for line in command.splitlines():
            self.show(Text(" " * indent + line, "bold"), wrap=False)

    def show(self, content: RenderableType, *, wrap: bool = True) -> None:
        if self._blank_line_due:
            self._console.print()
            self._blank_line_due = False
        self._console.print(content, soft_wrap=not wrap)

    def plain(self, text: str) -> str:
        """Text that the terminal can show. Commands must not be converted."""
        return text if self.unicode else text.translate(_ASCII).encode("ascii", "backslashreplace").decode()

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._file.getvalue().splitlines()]


def markdown(report: RunReport) -> str:
    """The same content in GitHub's Markdown, for the summary of a CI job."""
    lines = [f"## splithorizon: {GLYPH[report.verdict]} {report.verdict.upper()}", ""]
    for change in _pending_first(report):
        title = "Not restored" if change.pending else "Left alone"
        lines += [f"**{title}**: {_cell(change.object)}: {_cell(change.reason)}", ""]
        lines += [*_fenced(change.command, "sh"), ""] if change.command else []
    for title, cause in causes(report):
        lines += [f"**{title.capitalize()}**: {_cell(cause.text)} ({_cell(cause.cause_id)})", ""]
        lines += [f"- {_cell(f'{fact.object}: {fact.field}: {fact.value}')}" for fact in cause.evidence]
        lines += [f"- seen: {_cell(cause.witness)}"] if cause.witness else []
        lines += [f"- explains: {_cell(', '.join(cause.consequences))}"] if cause.consequences else []
        lines += ["", *_fenced(cause.fix, "sh"), ""] if cause.fix else [""]
    if report.undiagnosed:
        lines += [f"**Root cause**: {_cell(report.undiagnosed)}", ""]
    lines += _lines(count_lines(report))
    if report.inconclusive_reason:
        lines += ["", f"Because: {_cell(reason(report))}"]
        lines += ["", *_fenced(report.next_command, "sh")] if report.next_command else []
    lines += ["", *_lines([*environment(report), *_conditions(report)]), ""]
    if report.behaviours:
        head = ("area", "claim", "route", "verdict", "key number", "seconds")
        lines += [_row(head), "|---|---|---|---|---|---:|"]
        for result in ordered(report):
            verdict = f"{GLYPH[result.verdict]} {result.verdict}"
            numbers = (result.key_number, f"{result.seconds:.1f}")
            lines.append(_row((result.area, result.claim, result.route, verdict, *numbers)))
        lines.append("")
    for result in failed_results(report):
        likely = [f"likely: {result.likely_cause}"] if result.likely_cause else []
        content = _fenced("\n".join([*_latent(result), result.failure, *likely]))
        if result.next_command:
            content += ["", "Look further:", "", *_fenced(result.next_command, "sh")]
            content += ["", hint] if (hint := how_to_keep(report, result.next_command)) else []
        lines += _details(f"{GLYPH[result.verdict]} {_title(result)}", content, open_=True)
    if report.watch is not None:
        lost = any(route.lost for route in report.watch.routes)
        lines += _details(
            "Watched while the mesh was changed", _fenced("\n".join(watch_text.lines(report.watch))), open_=lost
        )
    if report.comparison is not None:
        content = _fenced("\n".join(comparison_text.lines(report.comparison)))
        title = f"Compared with --baseline: {comparison_text.result(report.comparison)}"
        lines += _details(title, content, open_=bool(report.comparison.regressions))
    again = "Run again what did not pass:" if failed_results(report) else "Run again:"
    lines += [again, "", *_fenced(rerun_command(report), "sh"), ""]
    if report.steps:
        rows = [(step_label(step), f"{step.started_after:.1f}", f"{step.seconds:.1f}") for step in report.steps]
        table = [_row(("step", "began after", "seconds")), "|---|---:|---:|"]
        lines += _details(phases_of(report).line(), [*table, *map(_row, rows)])
    lines += _lines([entry.capitalize() for entry in not_claimed(report)])
    return "\n".join(lines).rstrip() + "\n"


def whole_command(report: RunReport) -> str:
    """The shell command that repeats the run."""
    return shlex.join(report.command)


def rerun_command(report: RunReport, *, unicode: bool = True) -> str:
    """The shell command that runs only the failed tests again, with the same options.

    If no check has passed, it is the command of the run. Without ``unicode``, a test whose node id is not ASCII is
    replaced by its module, which also runs it on other routes.
    """
    program, *arguments = report.command
    failed = failed_results(report)
    # A watch is no test that could be run by its name.
    watched = any(result.area == WATCHED for result in failed)
    if not failed or watched or len(failed) == len(report.behaviours):
        return whole_command(report)
    options = [
        argument
        for before, argument in zip([program, *arguments], arguments, strict=False)
        if before in _OPTIONS_WITH_PATH or not _selects_tests(argument)
    ]
    if report.options.get("keep") and not report.options.get("reuse"):
        options.append("--reuse")
    tests = dict.fromkeys(
        result.nodeid if unicode or result.nodeid.isascii() else result.nodeid.partition("::")[0] for result in failed
    )
    return " \\\n  ".join([shlex.join([program, *options]), *map(shlex.quote, tests)])


def _not_restored(page: _Page) -> None:
    for change in _pending_first(page.report):
        title = "NOT RESTORED" if change.pending else "LEFT ALONE"
        page.prose(f"{title}: {change.object}: {change.reason}", style="bold red" if change.pending else "yellow")
        if change.command:
            page.prose("restore it with:" if change.pending else "show it with:", indent=2)
            page.command(change.command)


def _pending_first(report: RunReport) -> list[NotRestored]:
    return sorted(report.not_restored, key=lambda change: not change.pending)


def _root_cause(page: _Page) -> None:
    for title, cause in causes(page.report):
        page.prose(f"{title.upper()}: {cause.text} ({cause.cause_id})", style="bold red")
        for fact in cause.evidence:
            page.prose(f"{fact.object}: {fact.field}: {fact.value}", indent=4)
        if cause.witness:
            page.prose(f"seen: {cause.witness}", indent=4)
        if cause.consequences:
            page.prose(f"explains: {', '.join(cause.consequences)}", indent=4)
        if cause.fix:
            page.command(cause.fix)
    if page.report.undiagnosed:
        page.prose(f"ROOT CAUSE: {page.report.undiagnosed}", style="bold yellow")


def causes(report: RunReport) -> Iterator[tuple[str, reports.Diagnosis]]:
    """The root causes, each with its title."""
    if report.diagnosis is not None:
        yield f"root cause{_is_latent(report.diagnosis)}", report.diagnosis
    for cause in report.other_causes:
        yield f"and, apart from it, root cause{_is_latent(cause)}", cause


def _is_latent(cause: reports.Diagnosis) -> str:
    return ", latent" if cause.latent else ""


def _tested(page: _Page) -> None:
    """Versions, networks with their gateways, and conditions."""
    for text in (*environment(page.report), *_conditions(page.report)):
        page.prose(text)


def environment(report: RunReport) -> list[str]:
    """The versions in one line, if they are known, and a line for each network with its gateway."""
    versions = report.versions
    parts = [f"Istio {version} in {' and '.join(names)}" for version, names in _by_version(versions.istio)]
    parts += [f"Kubernetes {versions.kubernetes}"] if versions.kubernetes else []
    parts += [f"Envoy {versions.envoy}"] if versions.envoy else []
    parts += [f"{versions.provider} {versions.engine}".strip()] if versions.provider else []
    parts += [f"{versions.images} images"] if versions.images else []
    lines = [" · ".join(parts)] if parts else []
    for cluster in report.clusters:
        gateway = ", ".join(cluster.gateway_addresses) or "without an address"
        lines.append(f"{cluster.network}: pods {cluster.pod_subnet}, gateway {gateway}")
    return lines


def _conditions(report: RunReport) -> list[str]:
    return [
        f"{condition.name}: {condition.value}" + (f" ({condition.consequence})" if condition.consequence else "")
        for condition in report.conditions
    ]


def _by_version(istio: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    versions = dict.fromkeys(istio.values())
    return [(version, [name for name in istio if istio[name] == version]) for version in versions]


def _table(page: _Page) -> None:
    """The table of results. Routes are listed below their claim."""
    results = ordered(page.report)
    if not results:
        return
    area = max(len("area"), *(len(result.area) for result in results))
    claim = WIDTH - area - _VERDICT_WIDTH - _KEY_WIDTH - _SECONDS_WIDTH - _COLUMN_GAPS
    rule = Box(page.plain(_LINE_BELOW_HEAD), ascii=not page.unicode)
    table = Table(box=rule, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", width=WIDTH)
    for name, width in (("area", area), ("claim", claim), ("verdict", _VERDICT_WIDTH), ("key number", _KEY_WIDTH)):
        table.add_column(name, width=width, overflow="fold")
    table.add_column("seconds", width=_SECONDS_WIDTH, justify="right")
    for (name, claim_text), group in groupby(results, key=lambda result: (result.area, result.claim)):
        members = list(group)
        if members[0].route:
            table.add_row(page.plain(name), Text(page.plain(claim_text)))
        for member in members:
            route = Text(f"  {page.plain(member.route)}")
            first = ("", route) if member.route else (name, Text(page.plain(claim_text)))
            verdict = Text(page.plain(f"{GLYPH[member.verdict]} {member.verdict}"), _STYLE[member.verdict])
            table.add_row(*first, verdict, Text(page.plain(member.key_number)), f"{member.seconds:.1f}")
    page.show(table)


def _watch(page: _Page) -> None:
    """What was lost while the mesh was changed, and beside which event."""
    for line in watch_text.lines(page.report.watch) if page.report.watch else ():
        page.prose(line.lstrip(), indent=len(line) - len(line.lstrip()))


def _verdict(page: _Page) -> None:
    report = page.report
    counts, *requests = count_lines(report)
    page.prose(f"{report.verdict.upper()}: {counts}", style=f"bold {_STYLE[report.verdict]}")
    for line in requests:
        page.prose(line, indent=2)
    if report.inconclusive_reason:
        page.prose(f"because: {reason(report)}", indent=2)
        if report.next_command:
            page.command(report.next_command)
    for entry in not_claimed(report):
        page.prose(entry, indent=2)


def reason(report: RunReport) -> str:
    """Why a run is inconclusive. The failure of a check is not repeated, only referred to."""
    for result in failed_results(report):
        if result.failure == report.inconclusive_reason:
            return f"{_title(result)}: see below"
    return report.inconclusive_reason


def not_claimed(report: RunReport) -> list[str]:
    """A line for each reason, with counts by profile or with names."""
    groups: dict[tuple[Unclaimed, str], list[reports.NotClaimed]] = {}
    for entry in report.not_claimed:
        # Reasons of this kind differ in the profile only, by which they are counted.
        reason = "" if entry.kind is Unclaimed.NOT_ASKED_FOR else entry.reason
        groups.setdefault((entry.kind, reason), []).append(entry)
    lines = []
    for (kind, reason), entries in groups.items():
        because = f" ({reason.removeprefix(f'{kind}: ')})" if reason else ""
        if kind in _COUNTED:
            counts = Counter(entry.profile or "of unknown profile" for entry in entries)
            what = ", ".join(f"{count} {profile}" for profile, count in counts.items())
        else:
            what = ", ".join(entry.behaviour for entry in entries)
        lines.append(f"{kind}: {what}{because}")
    return lines


def count_lines(report: RunReport) -> list[str]:
    """The numbers of checks by verdict, and of requests."""
    if not report.behaviours:
        return ["no check ran"]
    numbers = Counter(result.verdict for result in report.behaviours)
    total = len(report.behaviours)
    worst_first = (*FAILED, Verdict.PARTIAL, Verdict.CONFORMANT)
    counts = ", ".join(f"{numbers[verdict]} {verdict}" for verdict in worst_first if numbers[verdict])
    lines = [f"of {total} {'check' if total == 1 else 'checks'} {counts}"]
    refuted = [result for result in report.behaviours if result.verdict is Verdict.NOT_CONFORMANT]
    if latent := [result for result in refuted if result.latent]:
        traffic = [result for result in report.behaviours if not result.latent]
        whole = bool(traffic) and all(result.verdict is Verdict.CONFORMANT for result in traffic)
        lines.append(f"{len(latent)} of {len(refuted)} not conformant are latent" + (_WHOLE if whole else ""))
    if sent := report.totals.requests:
        joined, unjoined = report.totals.joined, report.totals.unjoined
        lines.append(f"{sent:,} requests, {joined:,} joined to their own log line, {unjoined:,} not")
    if repeated := sum(report.repeated_reads.values()):
        where = ", ".join(f"{name} {count}" for name, count in report.repeated_reads.items())
        lines.append(f"API servers did not answer at once: {repeated} reads were repeated ({where})")
    return lines


def _failures(page: _Page) -> None:
    """Each failure in full: what was expected and seen, over how many samples, the causes, and a command."""
    for result in failed_results(page.report):
        page.begin_section()
        page.prose(f"{GLYPH[result.verdict]} {_title(result)}", style=f"bold {_STYLE[result.verdict]}")
        for line in _latent(result):
            page.prose(line, indent=4)
        for line in _shortened(result.failure.splitlines()):
            page.prose(line.lstrip(), indent=4 + len(line) - len(line.lstrip()))
        if result.likely_cause:
            page.prose(f"likely:   {result.likely_cause}", indent=6)
        if result.next_command:
            page.prose("look further:", indent=6)
            page.command(result.next_command, indent=8)
            if hint := how_to_keep(page.report, result.next_command):
                page.prose(hint, indent=8)


def _comparison(page: _Page) -> None:
    """What differs from the reports of --baseline."""
    if (comparison := page.report.comparison) is None:
        return
    page.prose("compared with --baseline:", style="bold red" if comparison.regressions else "bold")
    for line in comparison_text.lines(comparison):
        page.prose(line.lstrip(), indent=2 + len(line) - len(line.lstrip()))


def _latent(result: BehaviourResult) -> list[str]:
    """What a failure means that traffic does not show."""
    return [_LATENT] if result.latent and result.verdict is Verdict.NOT_CONFORMANT else []


def _shortened(lines: Sequence[str]) -> Iterator[str]:
    omitted = len(lines) - _FIRST_LINES - _LAST_LINES
    if omitted <= 1:
        yield from lines
        return
    yield from lines[:_FIRST_LINES]
    yield f"… {omitted} more lines in {reports.NAME} …"
    yield from lines[-_LAST_LINES:]


def how_to_keep(report: RunReport, command: str) -> str:
    """How to keep the clusters or the namespace that a command needs and the run has removed; else empty."""
    options = report.options
    if options.get("keep") or options.get("reuse") or options.get("mesh"):
        return ""
    if not options.get("contexts"):
        return "(the run has removed its clusters: add --keep-cluster to keep them for this command)"
    if report.namespace and re.search(rf"(?<![\w-]){re.escape(report.namespace)}(?![\w-])", command):
        return f"(the run has removed namespace {report.namespace}: add --keep-cluster to keep it for this command)"
    return ""


def _title(result: BehaviourResult) -> str:
    route = f" ({result.route})" if result.route else ""
    return f"{result.area}: {result.claim.rstrip('.')}{route}"


def ordered(report: RunReport) -> list[BehaviourResult]:
    """The results sorted, because xdist and parametrization change the order in which tests run."""
    return sorted(report.behaviours, key=lambda result: (result.area, result.behaviour, result.route))


def failed_results(report: RunReport) -> list[BehaviourResult]:
    """The results that are not conformant or inconclusive, in the same order."""
    return [result for result in ordered(report) if result.verdict in FAILED]


@dataclass(frozen=True)
class Phases:
    """The durations of a run's phases, in seconds. ``checks`` is the time between set-up and removal."""

    total: float
    setup: float
    checks: float
    removal: float

    def line(self) -> str:
        """The durations as a sum."""
        parts = (("set-up", self.setup), ("checks", self.checks), ("removal", self.removal))
        return f"{self.total:.1f} s = " + " + ".join(f"{name} {seconds:.1f} s" for name, seconds in parts)


def phases_of(report: RunReport) -> Phases:
    """Split the run at its longest time without a step, in which the checks ran, if there were any."""
    steps = sorted(report.steps, key=lambda step: step.started_after)
    wall = datetime.fromisoformat(report.finished) - datetime.fromisoformat(report.started)
    total = max([wall.total_seconds(), *(step.started_after + step.seconds for step in steps)])
    if not any(result.seconds for result in report.behaviours):
        return Phases(total, setup=total, checks=0.0, removal=0.0)
    busy_until, gaps = 0.0, []
    for step in steps:
        gaps.append((step.started_after - busy_until, busy_until))
        busy_until = max(busy_until, step.started_after + step.seconds)
    checks, setup = max([*gaps, (total - busy_until, busy_until)])
    return Phases(total, setup=setup, checks=checks, removal=total - setup - checks)


def _time(page: _Page) -> None:
    """The longest steps as bars on a time axis, so that concurrent steps can be seen."""
    report = page.report
    if not report.steps:
        return
    phases = phases_of(report)
    weight = {step: (step.outcome == "failed", step.seconds) for step in report.steps}
    longest = sorted(report.steps, key=weight.__getitem__, reverse=True)[:_STEPS_SHOWN]
    label_width = min(40, max(len(step_label(step)) for step in longest))
    axis = WIDTH - label_width - 16
    scale = axis / phases.total if phases.total else 0
    page.prose(f"time: {phases.line()}; the longest steps:")
    for step in sorted(longest, key=lambda step: (step.started_after, -step.seconds)):
        began = min(axis - 1, round(step.started_after * scale))
        ended = round((step.started_after + step.seconds) * scale)
        bar = " " * began + "█" * max(1, ended - began)
        label = textwrap.shorten(step_label(step), label_width, placeholder="…").ljust(label_width)
        line = page.plain(f"  {label} {step.seconds:7.1f} s |{bar.ljust(axis)}|")
        page.show(Text(line, "red" if step.outcome == "failed" else ""), wrap=False)


def step_label(step: StepTime) -> str:
    """The name of a step with its cluster, and whether it failed."""
    where = f"[{step.cluster}] " if step.cluster else ""
    return f"{where}{step.name}{', failed' if step.outcome == 'failed' else ''}"


def _next(page: _Page) -> None:
    report = page.report
    page.show(Text(f"the page to open in a browser: {page.folder / 'index.html'}"), wrap=False)
    page.show(Text(f"verdicts, evidence, log lines, times: {page.folder / reports.NAME}"), wrap=False)
    page.show(Text(f"the same tests for a CI system: {page.folder / 'junit.xml'}"), wrap=False)
    if report.verdict is not Verdict.CONFORMANT:
        page.begin_section()
        page.prose("run again what did not pass:" if failed_results(report) else "run again:")
        page.command(rerun_command(report, unicode=page.unicode), indent=2)


def _selects_tests(argument: str) -> bool:
    """Whether an argument is the path of tests, and not an option."""
    path = argument.partition("::")[0]
    suites = path.endswith(".py") or "suites" in PurePath(path).parts
    return suites and not argument.startswith("-")


def _lines(texts: Sequence[str]) -> list[str]:
    """Lines with a line break of Markdown."""
    return [_cell(text) + "  " for text in texts]


def _cell(text: str) -> str:
    """Escaped text, which may also be in a table."""
    return html.escape(text, quote=False).replace("|", "\\|").replace("\n", "<br>")


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _details(title: str, lines: Sequence[str], *, open_: bool = False) -> list[str]:
    """A section that can be collapsed."""
    start = f"<details{' open' if open_ else ''}><summary>{_cell(title)}</summary>"
    return [start, "", *lines, "", "</details>", ""]


def _fenced(text: str, language: str = "text") -> list[str]:
    """A code block, whose fence is longer than any fence within the text."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return [fence + language, *text.splitlines(), fence]
