"""The metrics file has Prometheus's text format, and the numbers of the report."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from splithorizon.run import metrics
from splithorizon.run.verdict import Verdict
from tests.support.full_report import REPORT

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABELS = r'\{[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"\}'
SAMPLE = re.compile(rf"({NAME})({LABELS})? (-?[0-9.]+(?:e[+-]?[0-9]+)?)")


def samples(text: str) -> dict[str, float]:
    """Every sample by name and labels; fails for a line that Prometheus would not take."""
    assert text.endswith("\n")
    typed: set[str] = set()
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert kind == "gauge"
            assert name not in typed, "a family stands in one piece"
            typed.add(name)
        elif not line.startswith("# HELP "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] in typed, line
            assert match[1] + (match[2] or "") not in found
            found[match[1] + (match[2] or "")] = float(match[3])
    return found


def test_it_has_verdict_checks_requests_and_seconds() -> None:
    report = replace(REPORT, started="2026-11-27T03:00:00.000Z", finished="2026-11-27T03:02:30.000Z",
                     repeated_reads={"primary": 2, 'a "name"\\': 1})  # fmt: skip
    found = samples(metrics.text(report))
    assert found[f'splithorizon_verdict{{verdict="{report.verdict}"}}'] == 1
    assert sum(value for name, value in found.items() if name.startswith("splithorizon_verdict")) == 1
    for verdict in Verdict:
        expected = sum(result.verdict is verdict for result in report.behaviours)
        assert found[f'splithorizon_checks{{verdict="{verdict}"}}'] == expected
    assert found["splithorizon_requests"] == report.totals.requests
    assert found["splithorizon_duration_seconds"] == 150
    assert found["splithorizon_end_timestamp_seconds"] == 1795748550
    assert found["splithorizon_exit_status"] == report.exit_status
    assert found['splithorizon_reads_repeated{cluster="primary"}'] == 2
    assert found['splithorizon_reads_repeated{cluster="a \\"name\\"\\\\"}'] == 1


def test_requests_that_a_check_counted_as_lost_are_in_it() -> None:
    first, *others = REPORT.behaviours
    lost = replace(first, numbers={"requests": 100, "lost": 3})
    before = samples(metrics.text(REPORT))["splithorizon_requests_lost"]
    assert (
        samples(metrics.text(replace(REPORT, behaviours=(lost, *others))))["splithorizon_requests_lost"] == before + 3
    )


def test_the_file_is_replaced_whole_and_readable_by_the_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "splithorizon.prom"
    file.write_text("old\n")
    metrics.write(file, REPORT)
    assert samples(file.read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["splithorizon.prom"]
    assert file.stat().st_mode & 0o044
    monkeypatch.setattr(Path, "replace", _fails)
    kept = file.read_text()
    with pytest.raises(OSError, match="no space"):
        metrics.write(file, REPORT)
    monkeypatch.undo()
    assert file.read_text() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["splithorizon.prom"]


def _fails(*_: object) -> None:
    raise OSError(28, "no space left on device")
