"""The end of a run for a person: what held, what did not and why, where the time went."""

from __future__ import annotations

import html
import re
import shlex
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, zip_longest
from pathlib import PurePath

from splithorizon import report as reports
from splithorizon.progress import StepTime
from splithorizon.report import BehaviourResult, RunReport
from splithorizon.verdict import Verdict

WIDTH = 110
_GLYPH = {
    Verdict.CONFORMANT: "✓",
    Verdict.NOT_CONFORMANT: "✗",
    Verdict.PARTIAL: "~",
    Verdict.INCONCLUSIVE: "?",
}
_FAILED = (Verdict.NOT_CONFORMANT, Verdict.INCONCLUSIVE)

# One character for one, so that columns stay where they are on a terminal that knows ASCII only.
_ASCII = str.maketrans("✓✗→·…─█≤≥", "+x>-~-#<>")

_BETWEEN = "  "
_VERDICT_WIDTH = 16
_KEY_WIDTH = 26
_SECONDS_WIDTH = 7
_STEPS_SHOWN = 8
_FAILURE_LINES = 8


def summary(report: RunReport, *, folder: PurePath | None = None, unicode: bool = True) -> list[str]:
    """Give the lines to print at the end of a run, at most 110 columns wide.

    Only commands are longer where they must be: they are to be copied. ``folder`` is the run's, by
    default ``reports/<run>``. Without ``unicode`` every line is ASCII.
    Give it what ``report.load`` read back: that went through the redactor, and is what was written.
    """
    folder = folder or PurePath("reports") / report.run_id
    parts = [
        _not_restored(report),
        _tested(report),
        _table(_ordered(report)),
        _verdict(report),
        _failures(report),
        _time(report),
        _next(report, folder),
    ]
    lines = [line.rstrip() for part in parts if part for line in ("", *part)]
    return lines if unicode else [line.translate(_ASCII).encode("ascii", "replace").decode() for line in lines]


def markdown(report: RunReport) -> str:
    """Say the same in GitHub's Markdown, for a CI system's step summary."""
    lines = [
        f"## splithorizon: {_GLYPH[report.verdict]} {report.verdict.upper()}",
        "",
        *_lines(_counts(report)),
    ]
    if lost := _not_restored(report):
        lines[2:2] = [*_fenced("\n".join(lost)), ""]
    if report.inconclusive_reason:
        lines += ["", f"Because: {_cell(report.inconclusive_reason)}"]
    lines += ["", *_lines(_tested(report)), ""]
    if report.behaviours:
        head = ("area", "claim", "route", "verdict", "key number", "seconds")
        lines += [_row(head), "|---|---|---|---|---|---:|"]
        for result in _ordered(report):
            verdict = f"{_GLYPH[result.verdict]} {result.verdict}"
            numbers = (result.key_number, f"{result.seconds:.1f}")
            lines.append(_row((result.area, result.claim, result.route, verdict, *numbers)))
        lines.append("")
    for result in _failed(report):
        text = "\n".join([result.failure, *(f"{name} {text}" for name, text in _advice(result))])
        lines += _folded(f"{_GLYPH[result.verdict]} {_title(result)}", _fenced(text), open_=True)
    again = "Run again what did not pass:" if _failed(report) else "Run again:"
    lines += [again, "", *_fenced(rerun_command(report), "sh"), ""]
    if report.steps:
        rows = [(_label(step), f"{step.started_after:.1f}", f"{step.seconds:.1f}") for step in report.steps]
        table = [_row(("step", "began after", "seconds")), "|---|---:|---:|"]
        lines += _folded(_phases(report).line(), [*table, *map(_row, rows)])
    lines += _lines([entry.capitalize() for entry in _not_claimed(report)])
    return "\n".join(lines).rstrip() + "\n"


def rerun_command(report: RunReport) -> str:
    """Give the shell command that runs again just what failed, with the options of the first time.

    Where no check passed there is nothing to leave out, and it is the run's own command.
    """
    program, *arguments = report.command
    failed = _failed(report)
    if not failed or len(failed) == len(report.behaviours):
        return shlex.join(report.command)
    options = [argument for argument in arguments if not _names_tests(argument)]
    if report.options.get("keep") and not report.options.get("reuse"):
        options.append("--reuse")
    tests = [shlex.quote(result.nodeid) for result in failed]
    return " \\\n  ".join([shlex.join([program, *options]), *tests])


def _not_restored(report: RunReport) -> list[str]:
    """First of all what the run left otherwise than it was, and the command for it, in one piece to be copied."""
    lines: list[str] = []
    for one in sorted(report.not_restored, key=lambda one: not one.pending):
        title, verb = ("NOT RESTORED", "restore it with:") if one.pending else ("LEFT ALONE", "look at it with:")
        lines += _wrapped(f"{title}: {one.object}: {one.reason}")
        lines += [f"  {verb} {one.command}"] if one.command else []
    return lines


def _tested(report: RunReport) -> list[str]:
    """Say what the verdict is about: versions, and the two networks with their gateways."""
    versions = report.versions
    istio = versions.get("istio", {})
    made_of = [f"Istio {version} in {' and '.join(roles)}" for version, roles in _by_version(istio)]
    for key, text in (
        ("kubernetes", "Kubernetes {kubernetes}"),
        ("envoy", "Envoy {envoy}"),
        ("provider", "{provider} {engine}"),
        ("images", "{images} images"),
    ):
        made_of += [text.format_map({"engine": "", **versions}).strip()] if key in versions else []
    texts = [" · ".join(made_of)]
    for cluster in report.topology.get("clusters", []):
        gateway = ", ".join(cluster["gateway_addresses"]) or "without an address"
        texts.append(f"{cluster['network']}: pods {cluster['pod_subnet']}, gateway {gateway}")
    return [line for text in texts for line in _wrapped(text)]


def _by_version(istio: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    versions = dict.fromkeys(istio.values())
    return [(wanted, [role for role in istio if istio[role] == wanted]) for wanted in versions]


def _table(results: Sequence[BehaviourResult]) -> list[str]:
    """Lay out area, claim, verdict, key number and seconds; routes stand below their claim."""
    if not results:
        return []
    area = max(len("area"), *(len(result.area) for result in results))
    fixed = (_VERDICT_WIDTH, _KEY_WIDTH, _SECONDS_WIDTH)
    widths = (area, WIDTH - area - sum(fixed) - 4 * len(_BETWEEN), *fixed)
    lines = [*_cells(("area", "claim", "verdict", "key number", "seconds"), widths), "─" * WIDTH]
    for (name, claim), group in groupby(results, key=lambda result: (result.area, result.claim)):
        members = list(group)
        if members[0].route:
            lines += _cells((name, claim, "", "", ""), widths)
        for member in members:
            verdict = f"{_GLYPH[member.verdict]} {member.verdict}"
            first = ("", f"  {member.route}") if member.route else (name, claim)
            lines += _cells((*first, verdict, member.key_number, f"{member.seconds:.1f}"), widths)
    return lines


def _cells(texts: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """Lay out one row, each text wrapped in its own column; the last column is of numbers."""
    columns = [_wrapped(text, width) for text, width in zip(texts, widths, strict=True)]
    for parts in zip_longest(*columns, fillvalue=""):
        left = [part.ljust(width) for part, width in zip(parts[:-1], widths, strict=False)]
        yield _BETWEEN.join([*left, parts[-1].rjust(widths[-1])]).rstrip()


def _verdict(report: RunReport) -> list[str]:
    counts, *requests = _counts(report)
    lines = [*_wrapped(f"{report.verdict.upper()}: {counts}"), *(f"  {line}" for line in requests)]
    if report.inconclusive_reason:
        lines += _wrapped(f"because: {report.inconclusive_reason}", indent="  ")
    for entry in _not_claimed(report):
        lines += _wrapped(entry, indent="  ")
    return lines


def _not_claimed(report: RunReport) -> list[str]:
    """One line per reason: a profile that was not asked for has a dozen behaviours."""
    reasons: dict[str, list[str]] = {}
    for entry in report.not_claimed:
        reasons.setdefault(entry.reason, []).append(entry.behaviour)
    return [f"not claimed: {', '.join(names)} ({reason})" for reason, names in reasons.items()]


def _counts(report: RunReport) -> list[str]:
    """How many checks ended in which verdict, and how many requests stand behind them."""
    if not report.behaviours:
        return ["no check ran"]
    found = Counter(result.verdict for result in report.behaviours)
    total = len(report.behaviours)
    worst_first = (*_FAILED, Verdict.PARTIAL, Verdict.CONFORMANT)
    counts = ", ".join(f"{found[verdict]} {verdict}" for verdict in worst_first if found[verdict])
    lines = [f"of {total} {'check' if total == 1 else 'checks'} {counts}"]
    if sent := report.totals.requests:
        joined, unjoined = report.totals.joined, report.totals.unjoined
        lines.append(f"{sent:,} requests, {joined:,} joined to their own log line, {unjoined:,} not")
    return lines


def _failures(report: RunReport) -> list[str]:
    lines: list[str] = []
    for result in _failed(report):
        lines += _wrapped(f"{_GLYPH[result.verdict]} {_title(result)}")
        said = [line for text in result.failure.splitlines() for line in _wrapped(text, indent="    ")]
        lines += said[:_FAILURE_LINES]
        if len(said) > _FAILURE_LINES:
            lines.append(f"    … {len(said) - _FAILURE_LINES} more lines in {reports.NAME}")
        for name, text in _advice(result):
            # A command stays in one piece, to be copied.
            command = text == result.next_command
            advice = f"{name} {text}"
            lines += [f"    {advice}"] if command else _wrapped(advice, indent="    ")
    return lines


def _advice(result: BehaviourResult) -> list[tuple[str, str]]:
    """Give the likely cause and the next command, unless the failure's own text holds them."""
    advice = (("likely:", result.likely_cause), ("look:  ", result.next_command))
    return [(name, text) for name, text in advice if text and text not in result.failure]


def _title(result: BehaviourResult) -> str:
    route = f" ({result.route})" if result.route else ""
    return f"{result.area}: {result.claim.rstrip('.')}{route}"


def _ordered(report: RunReport) -> list[BehaviourResult]:
    """Not in the order of the run: xdist and parametrization mix it."""
    return sorted(report.behaviours, key=lambda found: (found.area, found.behaviour, found.route))


def _failed(report: RunReport) -> list[BehaviourResult]:
    return [result for result in _ordered(report) if result.verdict in _FAILED]


@dataclass(frozen=True)
class _Phases:
    """Where a run's time went, in seconds; ``checks`` is what no step of set-up or removal took."""

    total: float
    setup: float
    checks: float
    removal: float

    def line(self) -> str:
        parts = (("set-up", self.setup), ("checks", self.checks), ("removal", self.removal))
        return f"{self.total:.1f} s = " + " + ".join(f"{name} {seconds:.1f} s" for name, seconds in parts)


def _phases(report: RunReport) -> _Phases:
    """Split the run at its longest time without a step: there the checks ran, if any did."""
    steps = sorted(report.steps, key=lambda step: step.started_after)
    wall = datetime.fromisoformat(report.finished) - datetime.fromisoformat(report.started)
    total = max([wall.total_seconds(), *(step.started_after + step.seconds for step in steps)])
    if not any(result.seconds for result in report.behaviours):
        return _Phases(total, setup=total, checks=0.0, removal=0.0)
    busy_until, gaps = 0.0, []
    for step in steps:
        gaps.append((step.started_after - busy_until, busy_until))
        busy_until = max(busy_until, step.started_after + step.seconds)
    checks, setup = max([*gaps, (total - busy_until, busy_until)])
    return _Phases(total, setup=setup, checks=checks, removal=total - setup - checks)


def _time(report: RunReport) -> list[str]:
    """Draw the longest steps on the run's own time axis, so that what ran side by side is seen."""
    if not report.steps:
        return []
    phases = _phases(report)
    weight = {step: (step.outcome == "failed", step.seconds) for step in report.steps}
    longest = sorted(report.steps, key=weight.__getitem__, reverse=True)[:_STEPS_SHOWN]
    label_width = min(40, max(len(_label(step)) for step in longest))
    axis = WIDTH - label_width - 16
    scale = axis / phases.total if phases.total else 0
    lines = _wrapped(f"time: {phases.line()}; the longest steps:")
    for step in sorted(longest, key=lambda step: (step.started_after, -step.seconds)):
        began = min(axis - 1, round(step.started_after * scale))
        ended = round((step.started_after + step.seconds) * scale)
        bar = " " * began + "█" * max(1, ended - began)
        label = textwrap.shorten(_label(step), label_width, placeholder="…").ljust(label_width)
        lines.append(f"  {label} {step.seconds:7.1f} s |{bar.ljust(axis)}|")
    return lines


def _label(step: StepTime) -> str:
    where = f"[{step.role}] " if step.role else ""
    return f"{where}{step.name}{', failed' if step.outcome == 'failed' else ''}"


def _next(report: RunReport, folder: PurePath) -> list[str]:
    lines = [
        f"open   {folder / reports.NAME}  verdicts, evidence, log lines, times",
        f"open   {folder / 'junit.xml'}    the same tests for a CI system",
    ]
    if report.verdict is not Verdict.CONFORMANT:
        again = "run again what did not pass:" if _failed(report) else "run again:"
        lines += ["", again, *f"  {rerun_command(report)}".splitlines()]
    return lines


def _names_tests(argument: str) -> bool:
    """Whether an argument says which tests to run, rather than how."""
    path = argument.partition("::")[0]
    suites = path.endswith(".py") or "suites" in PurePath(path).parts
    return suites and not argument.startswith("-")


def _wrapped(text: str, width: int = WIDTH, indent: str = "") -> list[str]:
    """Lines of at most ``width`` columns; spaces that lead the text, like a route's, stay."""
    leading = indent + " " * (len(text) - len(text.lstrip(" ")))
    return textwrap.wrap(
        text.strip(),
        width,
        initial_indent=leading,
        subsequent_indent=leading,
        break_on_hyphens=False,
    )


def _lines(texts: Sequence[str]) -> list[str]:
    """Lines that Markdown keeps apart."""
    return [_cell(text) + "  " for text in texts]


def _cell(text: str) -> str:
    """Text that Markdown shows as it is, also within a table."""
    return html.escape(text, quote=False).replace("|", "\\|").replace("\n", "<br>")


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _folded(title: str, lines: Sequence[str], *, open_: bool = False) -> list[str]:
    """Lines that a reader of the Markdown may fold away."""
    start = f"<details{' open' if open_ else ''}><summary>{_cell(title)}</summary>"
    return [start, "", *lines, "", "</details>", ""]


def _fenced(text: str, language: str = "text") -> list[str]:
    """Text within a fence longer than any in it."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return [fence + language, *text.splitlines(), fence]
