"""Compares the duration of Istio's split-horizon guide, run by hand, with that of this suite.

This module computes ratios and formats the table; ``python -m bench`` measures.
"""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from splithorizon.run.report import RunReport

GOAL = 0.45
"""The highest acceptable ratio of the suite's duration to that of the procedure by hand."""

_STEPS_SHOWN = 6


@dataclass(frozen=True)
class Step:
    """A part of a run. Steps of the suite overlap, steps by hand do not."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Half:
    """A complete successful run, by hand or by the suite, including the deletion of the clusters."""

    seconds: float
    worked: float
    """The busy time of all cores of the machine meanwhile, in seconds."""
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Pair:
    """A run by hand, and the run of the suite right after it."""

    by_hand: Half
    suite: Half

    @property
    def ratio(self) -> float:
        """The ratio of the suite's duration to the duration by hand."""
        return self.suite.seconds / self.by_hand.seconds

    def floor(self, cores: int) -> float:
        """The lowest possible ratio: that of a suite which does the same work and keeps all cores busy."""
        return self.suite.worked / cores / self.by_hand.seconds


def cores_worked(proc_stat: str) -> float:
    """The busy time of all cores since the machine started, in seconds, from the content of ``/proc/stat``.

    See proc_stat(5). Idle time and time waiting for disks do not count, and user time includes the time of guests.
    """
    user, nice, system, _, _, interrupts, soft_interrupts, *_ = map(int, proc_stat.split("\n", 1)[0].split()[1:])
    return (user + nice + system + interrupts + soft_interrupts) / os.sysconf("SC_CLK_TCK")


def steps_by_hand(output: str) -> tuple[Step, ...]:
    """The steps in the output of ``by_hand.sh``. Raises ValueError if the script did not complete."""
    marks = re.findall(r"^@ (\d+\.\d+) (.+)$", output, re.MULTILINE)
    if not marks or marks[-1][1] != "end":
        raise ValueError(f"by_hand.sh did not complete, the last step was {marks[-1][1] if marks else 'none'!r}")
    return tuple(Step(name, float(after) - float(begun)) for (begun, name), (after, _) in pairwise(marks))


def steps_of_suite(report: RunReport) -> tuple[Step, ...]:
    """The steps in a run's report, and all checks as one further step."""
    checks = Step("checks", sum(result.seconds for result in report.behaviours))
    return (*(Step(_label(step.name, step.cluster), step.seconds) for step in report.steps), checks)


def median_run(halves: Sequence[Half]) -> Half:
    """The run with the median duration; of an even number, the faster of the two in the middle."""
    return sorted(halves, key=lambda half: half.seconds)[(len(halves) - 1) // 2]


def table(pairs: Sequence[Pair], cores: int) -> list[str]:
    """The lines of the table: durations, ratios with the goal, and lowest possible ratios."""
    numbers = [str(number) for number in range(1, len(pairs) + 1)]
    ratios = [pair.ratio for pair in pairs]
    floors = [pair.floor(cores) for pair in pairs]
    return [
        _row("", [*(f"run {number}" for number in numbers), "median", "min", "max"]),
        _row("by hand", _seconds([pair.by_hand.seconds for pair in pairs])),
        _row("pytest suites/", _seconds([pair.suite.seconds for pair in pairs])),
        _row("ratio", [f"{ratio:.3f}" for ratio in _with_summary(ratios)]) + f"   goal ≤ {GOAL}",
        _row("lowest", [f"{value:.3f}" for value in _with_summary(floors)])
        + f"   if all {cores} cores are always busy",
    ]


def where_time_went(name: str, half: Half) -> list[str]:
    """The longest steps of a run, longest first."""
    longest = sorted(half.steps, key=lambda step: -step.seconds)[:_STEPS_SHOWN]
    return [f"{name}, of {half.seconds:.1f} s:", *(f"  {step.seconds:6.1f} s  {step.name}" for step in longest)]


def as_json(pairs: Sequence[Pair], *, cores: int, **facts: Any) -> dict[str, Any]:
    """All measurements, and the ratios that follow from them."""
    return {
        **facts,
        "cores": cores,
        "goal": GOAL,
        "ratio": _summary([pair.ratio for pair in pairs]),
        "floor": _summary([pair.floor(cores) for pair in pairs]),
        "by_hand": _summary([pair.by_hand.seconds for pair in pairs]),
        "suite": _summary([pair.suite.seconds for pair in pairs]),
        "runs": [
            {"ratio": round(pair.ratio, 4), "by_hand": _half(pair.by_hand), "suite": _half(pair.suite)}
            for pair in pairs
        ],
    }


def _half(half: Half) -> dict[str, Any]:
    steps = [{"name": step.name, "seconds": round(step.seconds, 3)} for step in half.steps]
    return {"seconds": round(half.seconds, 3), "worked": round(half.worked, 3), "steps": steps}


def _summary(values: Sequence[float]) -> dict[str, float]:
    *_, median, least, most = _with_summary(values)
    return {"median": round(median, 4), "min": round(least, 4), "max": round(most, 4)}


def _with_summary(values: Sequence[float]) -> list[float]:
    return [*values, statistics.median(values), min(values), max(values)]


def _seconds(values: Sequence[float]) -> list[str]:
    return [f"{value:.1f} s" for value in _with_summary(values)]


def _row(name: str, cells: Iterable[str]) -> str:
    return f"{name:<15}" + "".join(f"{cell:>10}" for cell in cells)


def _label(name: str, cluster: str | None) -> str:
    return f"{name}, {cluster}" if cluster else name
