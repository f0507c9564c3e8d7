"""Finds the numbers of a report that can be compared: counts out of a total, recovery times, and plain facts.

Evidence has its numbers by name. Which of them is a count, and out of what, is decided here, for reports of any
version.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from splithorizon.run.report import BehaviourResult, RunReport
from splithorizon.run.report_types import Scalar

# A count of what should not happen, and the name of its total.
_LOSSES = {"unjoined": "requests", "lost": "requests", "strayed": "answers"}
_VERSION = re.compile(r"v\d+")
# How many there are, which is up to the mesh and not to chance.
_FACTS = ("endpoints", "clusters", "istiods", "secrets", "proxies", "pods", "links", "objects")


class Key(NamedTuple):
    """What was measured, and where."""

    behaviour: str
    route: str
    name: str

    def __str__(self) -> str:
        """As a line of a comparison has it."""
        return f"{self.behaviour}{f' ({self.route})' if self.route else ''}: {self.name}"


@dataclass(frozen=True)
class Share:
    """A count out of a total. A loss should be zero; any other count has an expected share, where one is known."""

    count: int
    total: int
    is_loss: bool
    expected: float | None = None

    @property
    def share(self) -> float:
        """The count's share of the total."""
        return self.count / self.total


@dataclass(frozen=True)
class RecoveryTime:
    """How long a state took to return, in seconds, and how long it may take; zero if no bound is known."""

    key: Key
    seconds: float
    within: float
    reached: bool
    """False for a state that did not return within the bound."""


def versions(numbers: Mapping[str, Scalar]) -> tuple[dict[str, int], int]:
    """The answers of each version, and their total; nothing and zero if these numbers have no such counts."""
    counts = {
        name: count for name in numbers if _VERSION.fullmatch(name) and (count := _count(numbers, name)) is not None
    }
    total = _count(numbers, "answers") or sum(counts.values())
    return (counts, total) if counts and sum(counts.values()) <= total else ({}, 0)


def shares(report: RunReport) -> Iterator[tuple[Key, Share]]:
    """The counts of a report that are up to chance, each once."""
    for result in report.behaviours:
        seen: Counter[str] = Counter()
        for numbers, interval in _numbers(result):
            for name, share in _shares(numbers, interval):
                yield Key(result.behaviour, result.route, _numbered(name, seen)), share


def recovery_times(report: RunReport) -> Iterator[RecoveryTime]:
    """The times after which a state returned, or was given up."""
    for result in report.behaviours:
        seen: Counter[str] = Counter()
        for evidence in result.evidence:
            yield from _recovery_time(result, evidence.numbers, evidence.claim, seen, reached=True)
        yield from _recovery_time(result, result.numbers, result.claim, seen, reached=False)


def facts(report: RunReport) -> Iterator[tuple[Key, str]]:
    """The numbers that are not up to chance."""
    for result in report.behaviours:
        seen: Counter[str] = Counter()
        for evidence in result.evidence:
            for name in _FACTS:
                if name in evidence.numbers:
                    yield Key(result.behaviour, result.route, _numbered(name, seen)), str(evidence.numbers[name])


def _numbers(result: BehaviourResult) -> Iterator[tuple[Mapping[str, Scalar], tuple[float, float] | None]]:
    for evidence in result.evidence:
        yield evidence.numbers, evidence.expected_interval
    yield result.numbers, result.expected_interval


def _shares(numbers: Mapping[str, Scalar], interval: tuple[float, float] | None) -> Iterator[tuple[str, Share]]:
    for name, of in _LOSSES.items():
        if (count := _count(numbers, name)) is not None and (total := _count(numbers, of)) and count <= total:
            yield name, Share(count, total, is_loss=True)
    counts, total = versions(numbers)
    if not total:
        return
    # Of all that add up to the total, the last follows from the others.
    names = sorted(counts)
    for name in names if len(names) == 1 else names[:-1]:
        expected = None if interval is None else sum(interval) / 2 / total
        yield name, Share(counts[name], total, is_loss=False, expected=expected)


def _recovery_time(
    result: BehaviourResult, numbers: Mapping[str, Scalar], claim: str, seen: Counter[str], *, reached: bool
) -> Iterator[RecoveryTime]:
    seconds = numbers.get("recovered_after")
    if _is_number(seconds):
        state = _numbered(str(numbers.get("state") or claim), seen)
        within = numbers.get("within")
        bound = float(within or 0) if _is_number(within) else 0.0
        yield RecoveryTime(Key(result.behaviour, result.route, state), float(seconds or 0), bound, reached)


def _numbered(name: str, seen: Counter[str]) -> str:
    """A name that occurs again in one result is numbered: checks of a behaviour run in the same order in every run."""
    seen[name] += 1
    return name if seen[name] == 1 else f"{name}, {seen[name]}"


def _count(numbers: Mapping[str, Scalar], name: str) -> int | None:
    value = numbers.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
