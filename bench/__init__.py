"""What the seed's procedure costs by hand, and what this suite makes of it: two times, side by side.

This module is the arithmetic and the table; ``python -m bench`` measures.
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
"""The suite's time as a share of the procedure's, at most."""

_LONGEST = 6


@dataclass(frozen=True)
class Step:
    """A part of a run; the suite's overlap, those by hand follow one another."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Half:
    """One whole process that ended well, deletion included."""

    seconds: float
    worked: float
    """Seconds that the machine's cores worked meanwhile, all of them together."""
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Pair:
    """The procedure by hand, and right after it the suite."""

    by_hand: Half
    suite: Half

    @property
    def ratio(self) -> float:
        """The suite's share of the time by hand."""
        return self.suite.seconds / self.by_hand.seconds

    def floor(self, cores: int) -> float:
        """What the ratio would be if the suite did the same work and no core ever rested."""
        return self.suite.worked / cores / self.by_hand.seconds


def cores_worked(proc_stat: str) -> float:
    """Seconds that all cores have worked since the machine's start, from its ``/proc/stat``.

    Source: proc_stat(5); neither idle nor waiting for a disk is work, and a guest's time is within the user's.
    """
    user, nice, system, _, _, interrupts, soft_interrupts, *_ = map(int, proc_stat.split("\n", 1)[0].split()[1:])
    return (user + nice + system + interrupts + soft_interrupts) / os.sysconf("SC_CLK_TCK")


def steps_by_hand(output: str) -> tuple[Step, ...]:
    """Read what ``by_hand.sh`` said of its steps.

    Raises ValueError where it did not come to its end.
    """
    marks = re.findall(r"^@ (\d+\.\d+) (.+)$", output, re.MULTILINE)
    if not marks or marks[-1][1] != "end":
        raise ValueError(f"by_hand.sh did not come to its end, the last step was {marks[-1][1] if marks else 'none'!r}")
    return tuple(Step(name, float(after) - float(begun)) for (begun, name), (after, _) in pairwise(marks))


def steps_of_suite(report: RunReport) -> tuple[Step, ...]:
    """The steps of a run's report, and its checks as one more."""
    checks = Step("checks", sum(result.seconds for result in report.behaviours))
    return (*(Step(_label(step.name, step.cluster), step.seconds) for step in report.steps), checks)


def median_run(halves: Sequence[Half]) -> Half:
    """The one in the middle, of an even number the quicker of the two."""
    return sorted(halves, key=lambda half: half.seconds)[(len(halves) - 1) // 2]


def table(pairs: Sequence[Pair], cores: int) -> list[str]:
    """Each run's seconds, the ratio of each pair, their medians beside the goal, and what they can be at least."""
    numbers = [str(number) for number in range(1, len(pairs) + 1)]
    ratios = [pair.ratio for pair in pairs]
    floors = [pair.floor(cores) for pair in pairs]
    return [
        _row("", [*(f"run {number}" for number in numbers), "median", "min", "max"]),
        _row("by hand", _seconds([pair.by_hand.seconds for pair in pairs])),
        _row("pytest suites/", _seconds([pair.suite.seconds for pair in pairs])),
        _row("ratio", [f"{ratio:.3f}" for ratio in _with_summary(ratios)]) + f"   goal ≤ {GOAL}",
        _row("its floor", [f"{floor:.3f}" for floor in _with_summary(floors)]) + f"   if none of {cores} cores rested",
    ]


def where_time_went(name: str, half: Half) -> list[str]:
    """The longest steps of a run, longest first."""
    longest = sorted(half.steps, key=lambda step: -step.seconds)[:_LONGEST]
    return [f"{name}, of {half.seconds:.1f} s:", *(f"  {step.seconds:6.1f} s  {step.name}" for step in longest)]


def as_json(pairs: Sequence[Pair], *, cores: int, **facts: Any) -> dict[str, Any]:
    """All that was measured, and what it amounts to."""
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


def _label(name: str, role: str | None) -> str:
    return f"{name}, {role}" if role else name
