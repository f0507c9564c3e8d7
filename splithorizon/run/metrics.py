"""The outcome of a run as a Prometheus textfile, for the textfile collector of a node exporter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from splithorizon.base import private_file
from splithorizon.run.report import RunReport
from splithorizon.run.verdict import Verdict


def write(path: Path, report: RunReport) -> None:
    """Replace the file atomically: no collector reads a half of it. Raises OSError where that is not possible."""
    private_file.write(path, text(report), mode=private_file.SHARED)


def text(report: RunReport) -> str:
    """The metrics of one run, in Prometheus's text format."""
    verdicts = [result.verdict for result in report.behaviours]
    lines: list[str] = []
    lines += _gauge(
        "verdict", "The verdict of the last run: 1 for the one that holds.",
        ((f'{{verdict="{verdict}"}}', float(report.verdict is verdict)) for verdict in Verdict),
    )  # fmt: skip
    lines += _gauge(
        "checks", "The checks of the last run, by verdict.",
        ((f'{{verdict="{verdict}"}}', verdicts.count(verdict)) for verdict in Verdict),
    )  # fmt: skip
    lines += _gauge("requests", "The requests that the last run sent.", [("", report.totals.requests)])
    lines += _gauge(
        "requests_lost", "The requests of the last run that were lost: no answer, or none in the access log.",
        [("", report.totals.unjoined + sum(_lost(report)))],
    )  # fmt: skip
    repeated = [(f'{{cluster="{_escaped(name)}"}}', count) for name, count in sorted(report.repeated_reads.items())]
    lines += _gauge("reads_repeated", "The reads that API servers did not answer at once.", repeated)
    begun, ended = _moment(report.started), _moment(report.finished)
    lines += _gauge("duration_seconds", "How long the last run took.", [("", round(ended - begun, 3))])
    lines += _gauge("end_timestamp_seconds", "When the last run ended.", [("", ended)])
    lines += _gauge("exit_status", "The exit status of the last run.", [("", report.exit_status)])
    return "".join(f"{line}\n" for line in lines)


def _lost(report: RunReport) -> Iterator[int]:
    """What each check counted as lost while something was disrupted."""
    for result in report.behaviours:
        for numbers in (*(one.numbers for one in result.evidence), result.numbers):
            yield int(numbers.get("lost") or 0)


def _gauge(name: str, meaning: str, values: Iterable[tuple[str, float]]) -> list[str]:
    named = f"splithorizon_{name}"
    return [
        f"# HELP {named} {meaning}",
        f"# TYPE {named} gauge",
        *(f"{named}{labels} {value:.15g}" for labels, value in values),
    ]


def _moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
