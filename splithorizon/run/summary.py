"""Formats the report of a run for people: the results, the failures with their causes, and the durations."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import PurePath

from rich.box import Box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from splithorizon.run import comparison_text, report_file, report_text, watch_text
from splithorizon.run.report import RunReport
from splithorizon.run.report_text import GLYPH
from splithorizon.run.verdict import Verdict

WIDTH = 110
_STYLE = {
    Verdict.CONFORMANT: "green",
    Verdict.NOT_CONFORMANT: "red",
    Verdict.PARTIAL: "yellow",
    Verdict.INCONCLUSIVE: "yellow",
}

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


def summary(
    report: RunReport, *, folder: PurePath | None = None, unicode: bool = True, colour: bool = False
) -> list[str]:
    """The lines to print at the end of a run, at most 110 columns wide.

    Only commands may be wider: they are printed on separate lines without wrapping, so that they can be copied.
    ``folder`` is that of the run, by default ``reports/<run>``. Without ``unicode`` every line is ASCII; a command that
    cannot be shown in ASCII is left out. ``colour`` adds escape sequences of terminals.
    ``report`` has to be the result of ``report_file.load``, because that has been redacted.
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
            self.prose(_CANNOT_SHOW.format(self.folder / report_file.NAME), indent=indent)
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


def _not_restored(page: _Page) -> None:
    for change in report_text.pending_first(page.report):
        title = "NOT RESTORED" if change.pending else "LEFT ALONE"
        page.prose(f"{title}: {change.object}: {change.reason}", style="bold red" if change.pending else "yellow")
        if change.command:
            page.prose("restore it with:" if change.pending else "show it with:", indent=2)
            page.command(change.command)


def _root_cause(page: _Page) -> None:
    for title, cause in report_text.causes(page.report):
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


def _tested(page: _Page) -> None:
    """Versions, networks with their gateways, and conditions."""
    for text in (*report_text.environment(page.report), *report_text.conditions(page.report)):
        page.prose(text)


def _table(page: _Page) -> None:
    """The table of results. Routes are listed below their claim."""
    results = report_text.ordered(page.report)
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
    counts, *requests = report_text.count_lines(report)
    page.prose(f"{report.verdict.upper()}: {counts}", style=f"bold {_STYLE[report.verdict]}")
    for line in requests:
        page.prose(line, indent=2)
    if report.inconclusive_reason:
        page.prose(f"because: {report_text.reason(report)}", indent=2)
        if report.next_command:
            page.command(report.next_command)
    for entry in report_text.not_claimed(report):
        page.prose(entry, indent=2)


def _failures(page: _Page) -> None:
    """Each failure in full: what was expected and seen, over how many samples, the causes, and a command."""
    for result in report_text.failed_results(page.report):
        page.begin_section()
        page.prose(f"{GLYPH[result.verdict]} {report_text.title(result)}", style=f"bold {_STYLE[result.verdict]}")
        for line in report_text.latent(result):
            page.prose(line, indent=4)
        for line in _shortened(result.failure.splitlines()):
            page.prose(line.lstrip(), indent=4 + len(line) - len(line.lstrip()))
        if result.likely_cause:
            page.prose(f"likely:   {result.likely_cause}", indent=6)
        if result.next_command:
            page.prose("look further:", indent=6)
            page.command(result.next_command, indent=8)
            if hint := report_text.how_to_keep(page.report, result.next_command):
                page.prose(hint, indent=8)


def _comparison(page: _Page) -> None:
    """What differs from the reports of --baseline."""
    if (comparison := page.report.comparison) is None:
        return
    page.prose("compared with --baseline:", style="bold red" if comparison.regressions else "bold")
    for line in comparison_text.lines(comparison):
        page.prose(line.lstrip(), indent=2 + len(line) - len(line.lstrip()))


def _shortened(lines: Sequence[str]) -> Iterator[str]:
    omitted = len(lines) - _FIRST_LINES - _LAST_LINES
    if omitted <= 1:
        yield from lines
        return
    yield from lines[:_FIRST_LINES]
    yield f"… {omitted} more lines in {report_file.NAME} …"
    yield from lines[-_LAST_LINES:]


def _time(page: _Page) -> None:
    """The longest steps as bars on a time axis, so that concurrent steps can be seen."""
    report = page.report
    if not report.steps:
        return
    phases = report_text.phases_of(report)
    weight = {step: (step.outcome == "failed", step.seconds) for step in report.steps}
    longest = sorted(report.steps, key=weight.__getitem__, reverse=True)[:_STEPS_SHOWN]
    label_width = min(40, max(len(report_text.step_label(step)) for step in longest))
    axis = WIDTH - label_width - 16
    scale = axis / phases.total if phases.total else 0
    page.prose(f"time: {phases.line()}; the longest steps:")
    for step in sorted(longest, key=lambda step: (step.started_after, -step.seconds)):
        began = min(axis - 1, round(step.started_after * scale))
        ended = round((step.started_after + step.seconds) * scale)
        bar = " " * began + "█" * max(1, ended - began)
        label = textwrap.shorten(report_text.step_label(step), label_width, placeholder="…").ljust(label_width)
        line = page.plain(f"  {label} {step.seconds:7.1f} s |{bar.ljust(axis)}|")
        page.show(Text(line, "red" if step.outcome == "failed" else ""), wrap=False)


def _next(page: _Page) -> None:
    report = page.report
    page.show(Text(f"the page to open in a browser: {page.folder / 'index.html'}"), wrap=False)
    page.show(Text(f"verdicts, evidence, log lines, times: {page.folder / report_file.NAME}"), wrap=False)
    page.show(Text(f"the same tests for a CI system: {page.folder / 'junit.xml'}"), wrap=False)
    if report.verdict is not Verdict.CONFORMANT:
        page.begin_section()
        page.prose("run again what did not pass:" if report_text.failed_results(report) else "run again:")
        page.command(report_text.rerun_command(report, unicode=page.unicode), indent=2)
