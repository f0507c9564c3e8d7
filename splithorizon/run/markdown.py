"""Formats the report of a run in GitHub's Markdown, for the summary of a CI job."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from splithorizon.run import comparison_text, report_text, watch_text
from splithorizon.run.report import RunReport
from splithorizon.run.report_text import GLYPH


def markdown(report: RunReport) -> str:
    """What ``summary`` prints, in Markdown. ``report`` has to be the result of ``report_file.load``."""
    lines = [f"## splithorizon: {GLYPH[report.verdict]} {report.verdict.upper()}", ""]
    for change in report_text.pending_first(report):
        title = "Not restored" if change.pending else "Left alone"
        lines += [f"**{title}**: {_cell(change.object)}: {_cell(change.reason)}", ""]
        lines += [*_fenced(change.command, "sh"), ""] if change.command else []
    for title, cause in report_text.causes(report):
        lines += [f"**{title.capitalize()}**: {_cell(cause.text)} ({_cell(cause.cause_id)})", ""]
        lines += [f"- {_cell(f'{fact.object}: {fact.field}: {fact.value}')}" for fact in cause.evidence]
        lines += [f"- seen: {_cell(cause.witness)}"] if cause.witness else []
        lines += [f"- explains: {_cell(', '.join(cause.consequences))}"] if cause.consequences else []
        lines += ["", *_fenced(cause.fix, "sh"), ""] if cause.fix else [""]
    if report.undiagnosed:
        lines += [f"**Root cause**: {_cell(report.undiagnosed)}", ""]
    lines += _lines(report_text.count_lines(report))
    if report.inconclusive_reason:
        lines += ["", f"Because: {_cell(report_text.reason(report))}"]
        lines += ["", *_fenced(report.next_command, "sh")] if report.next_command else []
    lines += ["", *_lines([*report_text.environment(report), *report_text.conditions(report)]), ""]
    if report.behaviours:
        head = ("area", "claim", "route", "verdict", "key number", "seconds")
        lines += [_row(head), "|---|---|---|---|---|---:|"]
        for result in report_text.ordered(report):
            verdict = f"{GLYPH[result.verdict]} {result.verdict}"
            numbers = (result.key_number, f"{result.seconds:.1f}")
            lines.append(_row((result.area, result.claim, result.route, verdict, *numbers)))
        lines.append("")
    for result in report_text.failed_results(report):
        likely = [f"likely: {result.likely_cause}"] if result.likely_cause else []
        content = _fenced("\n".join([*report_text.latent(result), result.failure, *likely]))
        if result.next_command:
            content += ["", "Look further:", "", *_fenced(result.next_command, "sh")]
            content += ["", hint] if (hint := report_text.how_to_keep(report, result.next_command)) else []
        lines += _details(f"{GLYPH[result.verdict]} {report_text.title(result)}", content, open_=True)
    if report.watch is not None:
        lost = any(route.lost for route in report.watch.routes)
        lines += _details(
            "Watched while the mesh was changed", _fenced("\n".join(watch_text.lines(report.watch))), open_=lost
        )
    if report.comparison is not None:
        content = _fenced("\n".join(comparison_text.lines(report.comparison)))
        title = f"Compared with --baseline: {comparison_text.result(report.comparison)}"
        lines += _details(title, content, open_=bool(report.comparison.regressions))
    again = "Run again what did not pass:" if report_text.failed_results(report) else "Run again:"
    lines += [again, "", *_fenced(report_text.rerun_command(report), "sh"), ""]
    if report.steps:
        rows = [
            (report_text.step_label(step), f"{step.started_after:.1f}", f"{step.seconds:.1f}") for step in report.steps
        ]
        table = [_row(("step", "began after", "seconds")), "|---|---:|---:|"]
        lines += _details(report_text.phases_of(report).line(), [*table, *map(_row, rows)])
    lines += _lines([entry.capitalize() for entry in report_text.not_claimed(report)])
    return "\n".join(lines).rstrip() + "\n"


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
