"""The sentences and orders that every account of a run uses: on the terminal, in Markdown and on the page."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath

from splithorizon.run import report as reports
from splithorizon.run.progress import StepTime
from splithorizon.run.report import BehaviourResult, RunReport, Unclaimed
from splithorizon.run.verdict import Verdict
from splithorizon.undo.not_restored import NotRestored

GLYPH = {
    Verdict.CONFORMANT: "✓",
    Verdict.NOT_CONFORMANT: "✗",
    Verdict.PARTIAL: "~",
    Verdict.INCONCLUSIVE: "?",
}
WATCHED = "watch"
"""The area of the results of a watch."""
FAILED = (Verdict.NOT_CONFORMANT, Verdict.INCONCLUSIVE)
# These behaviours are many, and their names are of little interest.
_COUNTED = (Unclaimed.NOT_ASKED_FOR, Unclaimed.NOT_ALLOWED, Unclaimed.NOT_RUN)
_LATENT = "latent: traffic does not need it now, and the next pod, proxy or token fails"
_WHOLE = ": traffic is whole, and the next pod, proxy or token fails"
_OPTIONS_WITH_PATH = ("--deselect", "--ignore", "--ignore-glob", "--rootdir", "--confcutdir", "-c", "--report-dir")


def causes(report: RunReport) -> Iterator[tuple[str, reports.Diagnosis]]:
    """The root causes, each with its title."""
    if report.diagnosis is not None:
        yield f"root cause{_is_latent(report.diagnosis)}", report.diagnosis
    for cause in report.other_causes:
        yield f"and, apart from it, root cause{_is_latent(cause)}", cause


def _is_latent(cause: reports.Diagnosis) -> str:
    return ", latent" if cause.latent else ""


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


def conditions(report: RunReport) -> list[str]:
    """A line for each condition under which the verdict was reached."""
    return [
        f"{condition.name}: {condition.value}" + (f" ({condition.consequence})" if condition.consequence else "")
        for condition in report.conditions
    ]


def _by_version(istio: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    versions = dict.fromkeys(istio.values())
    return [(version, [name for name in istio if istio[name] == version]) for version in versions]


def reason(report: RunReport) -> str:
    """Why a run is inconclusive. The failure of a check is not repeated, only referred to."""
    for result in failed_results(report):
        if result.failure == report.inconclusive_reason:
            return f"{title(result)}: see below"
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


def latent(result: BehaviourResult) -> list[str]:
    """What a failure means that traffic does not show."""
    return [_LATENT] if result.latent and result.verdict is Verdict.NOT_CONFORMANT else []


def how_to_keep(report: RunReport, command: str) -> str:
    """How to keep the clusters or the namespace that a command needs and the run has removed; else empty."""
    options = report.options
    if options.get("keep") or options.get("reuse") or options.get("mesh"):
        return ""
    if not options.get("contexts"):
        return "(the run has removed its clusters: add --keep-cluster to keep them for this command)"
    if report.namespace and re.search(rf"(?<![\w-]){re.escape(report.namespace)}(?![\w-])", command):
        removed, kept = f"namespace {report.namespace}", "it"
        if options.get("namespace"):
            removed, kept = f"its objects from namespace {report.namespace}", "them"
        return f"(the run has removed {removed}: add --keep-cluster to keep {kept} for this command)"
    return ""


def title(result: BehaviourResult) -> str:
    """Area, claim and route of a result, in one line."""
    route = f" ({result.route})" if result.route else ""
    return f"{result.area}: {result.claim.rstrip('.')}{route}"


def ordered(report: RunReport) -> list[BehaviourResult]:
    """The results sorted, because xdist and parametrization change the order in which tests run."""
    return sorted(report.behaviours, key=lambda result: (result.area, result.behaviour, result.route))


def failed_results(report: RunReport) -> list[BehaviourResult]:
    """The results that are not conformant or inconclusive, in the same order."""
    return [result for result in ordered(report) if result.verdict in FAILED]


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


def _selects_tests(argument: str) -> bool:
    """Whether an argument is the path of tests, and not an option."""
    path = argument.partition("::")[0]
    suites = path.endswith(".py") or "suites" in PurePath(path).parts
    return suites and not argument.startswith("-")


def pending_first(report: RunReport) -> list[NotRestored]:
    """What the run did not restore; what is still to be restored comes first."""
    return sorted(report.not_restored, key=lambda change: not change.pending)


# Seconds from the start of a run to the first step of its set-up.
_BEGINS_WITHIN = 1.0


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
    """Split the run at its longest time without a step, in which the checks ran, if there were any.

    Before the first step they ran only in a run without a set-up, whose first step then begins late.
    """
    steps = sorted(report.steps, key=lambda step: step.started_after)
    wall = datetime.fromisoformat(report.finished) - datetime.fromisoformat(report.started)
    total = max([wall.total_seconds(), *(step.started_after + step.seconds for step in steps)])
    if not any(result.seconds for result in report.behaviours):
        return Phases(total, setup=total, checks=0.0, removal=0.0)
    first = steps[0].started_after if steps else 0.0
    busy_until, gaps = first if first < _BEGINS_WITHIN else 0.0, []
    for step in steps:
        gaps.append((step.started_after - busy_until, busy_until))
        busy_until = max(busy_until, step.started_after + step.seconds)
    checks, setup = max([*gaps, (total - busy_until, busy_until)])
    return Phases(total, setup=setup, checks=checks, removal=total - setup - checks)


def step_label(step: StepTime) -> str:
    """The name of a step with its cluster, and whether it failed."""
    where = f"[{step.cluster}] " if step.cluster else ""
    return f"{where}{step.name}{', failed' if step.outcome == 'failed' else ''}"
