"""Compares the reports of runs before and after a change."""

from __future__ import annotations

import glob
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TypeVar

from splithorizon.base import statistics
from splithorizon.base.errors import UsageProblem
from splithorizon.run import measured, report_file
from splithorizon.run.comparison import (
    Change,
    Comparison,
    CountChange,
    Presence,
    PresenceChange,
    RecoveryTimes,
    VerdictChange,
)
from splithorizon.run.measured import Key, Share
from splithorizon.run.report import RunReport
from splithorizon.run.verdict import Verdict

COUNTS_BY_CHANCE = 0.001
"""The probability that chance alone marks any count of a comparison."""
MINIMAL_SHARE = 0.05
"""The smallest difference between two shares that is reported."""
MINIMAL_LOSS = 0.005
"""The smallest difference between two shares of losses that is reported."""
REPORTS_FOR_TIMES = 5
"""With fewer recovery times a side the rank-sum test cannot tell a difference from chance."""
TIMES_BY_CHANCE = 0.05
"""The probability that chance alone marks any recovery time of a comparison."""
MINIMAL_DELAY_SECONDS = 1.0
MINIMAL_DELAY_SHARE = 0.2

_NONE = "none"
# Where a run puts things, and what names its mesh: no conditions of what it measures.
_OPTIONS_WITHOUT_EFFECT = frozenset(
    {
        "baseline", "cluster_name", "contexts", "ca_dir", "hub", "istioctl", "keep", "kind", "kubeconfig_primary",
        "kubeconfig_remote", "kubectl", "look_before", "mesh", "rebuild", "reports", "reuse", "sample_hub",
        "snapshot_before_install", "diagnostics", "keep_on_failure", "pause_on_fail",
    }
)  # fmt: skip

_T = TypeVar("_T")


def read(where: str) -> tuple[RunReport, ...]:
    """The reports that a path names: a report, the folder of a run, a folder of such folders, or a pattern of these.

    Raises UsageProblem if there is none, or if one of them cannot be read.
    """
    # Path.glob refuses absolute patterns.
    named = [where] if Path(where).exists() else sorted(glob.glob(where))  # noqa: PTH207
    files = dict.fromkeys(file.resolve() for path in named for file in _reports_in(Path(path)))
    if not files:
        raise UsageProblem(f"{where}: there is no {report_file.NAME}")
    try:
        return tuple(report_file.load(file) for file in files)
    except (report_file.InvalidReport, OSError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{where}: {error}") from None


def compare(before: Sequence[RunReport], after: Sequence[RunReport]) -> Comparison:
    """What differs between two sides of at least one report each."""
    counts, compared, varying = _counts(before, after)
    return Comparison(
        before=tuple(one.run_id for one in before),
        after=tuple(one.run_id for one in after),
        versions=tuple(_changes(before, after, _versions)),
        conditions=tuple(_changes(before, after, _conditions)),
        run=tuple(_changes(before, after, _judgement)),
        verdicts=tuple(_verdicts(before, after)),
        presence=tuple(_presence(before, after)),
        counts=tuple(counts),
        counts_compared=compared,
        counts_varying=tuple(varying),
        facts=tuple(_facts(before, after)),
        recovery=tuple(_recovery(before, after)),
    )


def _reports_in(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif (path / report_file.NAME).is_file():
        yield path / report_file.NAME
    else:
        # reports/latest is one of its neighbours once more.
        yield from (file for file in sorted(path.glob(f"*/{report_file.NAME}")) if not file.parent.is_symlink())


def _changes(
    before: Sequence[RunReport], after: Sequence[RunReport], of: Callable[[RunReport], Mapping[str, str]]
) -> Iterator[Change]:
    """The names whose values differ between the sides."""
    old, new = _values(map(of, before)), _values(map(of, after))
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield Change(name, ", ".join(old.get(name, ())), ", ".join(new.get(name, ())))


def _values(of_reports: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    values: dict[str, set[str]] = defaultdict(set)
    for one in of_reports:
        for name, value in one.items():
            values[name].add(value)
    return {name: sorted(found) for name, found in values.items()}


def _versions(one: RunReport) -> dict[str, str]:
    versions = one.versions
    named = {f"Istio in {cluster}": version for cluster, version in versions.istio.items()}
    names = ("kubernetes", "envoy", "coredns", "etcd", "provider", "engine", "kind", "images", "python", "splithorizon")
    return named | {name: getattr(versions, name) for name in names}


def _conditions(one: RunReport) -> dict[str, str]:
    shape = "; ".join(
        f"{cluster.name} on {cluster.network or 'no network'}, "
        + ("own istiod" if cluster.runs_istiod else f"istiod of {cluster.control_plane}")
        for cluster in one.clusters
    )
    options = {
        f"option {name.replace('_', '-')}": str(value)
        for name, value in one.options.items()
        # An option that only one of two versions of the suite has says nothing about the mesh.
        if name not in _OPTIONS_WITHOUT_EFFECT and value not in (None, "", False)
    }
    found: dict[str, list[str]] = defaultdict(list)
    for condition in one.conditions:
        found[condition.name].append(condition.value)
    # One name may be of several things, as of several policies.
    return {"clusters": shape} | options | {name: "; ".join(sorted(values)) for name, values in found.items()}


def _judgement(one: RunReport) -> dict[str, str]:
    causes = [cause.cause_id for cause in (one.diagnosis, *one.other_causes) if cause is not None]
    return {"verdict": one.verdict.value, "root cause": ", ".join(causes) or _NONE}


def _results(reports: Iterable[RunReport]) -> dict[tuple[str, str], list[Verdict]]:
    found: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
    for one in reports:
        for result in one.behaviours:
            found[result.behaviour, result.route].append(result.verdict)
    return found


def _verdicts(before: Sequence[RunReport], after: Sequence[RunReport]) -> Iterator[VerdictChange]:
    old, new = _results(before), _results(after)
    for key in sorted(old.keys() & new.keys()):
        if set(old[key]) == set(new[key]):
            continue
        refuted = Verdict.NOT_CONFORMANT in new[key] and set(old[key]) == {Verdict.CONFORMANT}
        yield VerdictChange(*key, _counted(old[key]), _counted(new[key]), regression=refuted)


def _counted(verdicts: Sequence[Verdict]) -> str:
    numbers = Counter(verdicts)
    if len(numbers) == 1:
        return verdicts[0].value
    return ", ".join(f"{numbers[verdict]} {verdict}" for verdict in Verdict if numbers[verdict])


def _presence(before: Sequence[RunReport], after: Sequence[RunReport]) -> Iterator[PresenceChange]:
    old, new = _results(before), _results(after)
    for key in sorted(old.keys() ^ new.keys()):
        state, others = (Presence.NEW, before) if key in new else (Presence.GONE, after)
        reasons = {entry.behaviour: entry for one in others for entry in one.not_claimed}
        entry = reasons.get(key[0])
        yield PresenceChange(*key, state, entry.reason if entry else "")


def _collected(
    reports: Iterable[RunReport], of: Callable[[RunReport], Iterator[tuple[Key, _T]]]
) -> dict[Key, list[_T]]:
    found: dict[Key, list[_T]] = defaultdict(list)
    for one in reports:
        for key, value in of(one):
            found[key].append(value)
    return found


def _counts(before: Sequence[RunReport], after: Sequence[RunReport]) -> tuple[list[CountChange], int, list[str]]:
    """The counts that differ, how many were compared, and those that vary within a side."""
    old, new = _collected(before, measured.shares), _collected(after, measured.shares)
    both = sorted(old.keys() & new.keys())
    varying = [key for key in both if _varies(old[key]) or _varies(new[key])]
    compared = [key for key in both if key not in varying]
    pooled = [(_pooled(old[key]), _pooled(new[key])) for key in compared]
    p_values = statistics.holm([statistics.fisher(a.count, a.total, b.count, b.total) for a, b in pooled])
    changes = [
        CountChange(*key, a.count, a.total, b.count, b.total, p_value, regression=_is_worse(a, b))
        for key, (a, b), p_value in zip(compared, pooled, p_values, strict=True)
        if p_value < COUNTS_BY_CHANCE and abs(a.share - b.share) >= (MINIMAL_LOSS if b.is_loss else MINIMAL_SHARE)
    ]
    return changes, len(compared), list(map(str, varying))


def _pooled(shares: Sequence[Share]) -> Share:
    total = sum(one.total for one in shares)
    known = [one.expected * one.total for one in shares if one.expected is not None]
    expected = sum(known) / total if len(known) == len(shares) else None
    return Share(sum(one.count for one in shares), total, shares[0].is_loss, expected)


def _varies(shares: Sequence[Share]) -> bool:
    """Whether the runs of one side differ among themselves beyond chance, so that they cannot be added up."""
    low, high = min(shares, key=lambda one: one.share), max(shares, key=lambda one: one.share)
    pairs = len(shares) * (len(shares) - 1) / 2
    return pairs > 0 and statistics.fisher(low.count, low.total, high.count, high.total) * pairs < COUNTS_BY_CHANCE


def _is_worse(before: Share, after: Share) -> bool:
    if after.is_loss:
        return after.share > before.share
    if before.expected is None or after.expected is None:
        return False
    return abs(after.share - after.expected) > abs(before.share - before.expected)


def _facts(before: Sequence[RunReport], after: Sequence[RunReport]) -> Iterator[Change]:
    old, new = _collected(before, measured.facts), _collected(after, measured.facts)
    for key in sorted(old.keys() & new.keys()):
        # A number that differs within a side is no fact of the mesh.
        if len({*old[key]}) == len({*new[key]}) == 1 and old[key][0] != new[key][0]:
            yield Change(str(key), old[key][0], new[key][0])


def _recovery(before: Sequence[RunReport], after: Sequence[RunReport]) -> list[RecoveryTimes]:
    old, new = _collected(before, _recovered), _collected(after, _recovered)
    both = sorted(old.keys() & new.keys())
    judged = [key for key in both if min(len(old[key]), len(new[key])) >= REPORTS_FOR_TIMES]
    p_values = statistics.holm([statistics.later(old[key], new[key]) for key in judged])
    corrected = dict(zip(judged, p_values, strict=True))
    return [
        RecoveryTimes(
            *key,
            tuple(old[key]),
            tuple(new[key]),
            p_value=corrected.get(key),
            regression=corrected.get(key, 1.0) < TIMES_BY_CHANCE and _is_longer(old[key], new[key]),
        )
        for key in both
        if sorted(old[key]) != sorted(new[key])
    ]


def _recovered(one: RunReport) -> Iterator[tuple[Key, float]]:
    """The times of the states that returned: one that did not has no time, and its verdict says so."""
    return ((found.key, found.seconds) for found in measured.recovery_times(one) if found.reached)


def _is_longer(before: Sequence[float], after: Sequence[float]) -> bool:
    delay = median(after) - median(before)
    return delay >= MINIMAL_DELAY_SECONDS and delay >= MINIMAL_DELAY_SHARE * median(before)
