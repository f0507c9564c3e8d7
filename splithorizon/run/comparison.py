"""What differs between the reports of runs before and after a change: data, as it is in a report and in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from splithorizon.run.report_types import Count, Seconds, Text, config

Probability = Annotated[float, Ge(0), Le(1)]


class Presence(StrEnum):
    """Why a behaviour has a result on one side only."""

    NEW = "new"
    GONE = "gone"


@dataclass(frozen=True, config=config())
class Change:
    """A value that differs. With several reports a side, every value that occurs, separated by commas."""

    name: Text
    """What has the value."""
    before: str
    """The value before; empty if there was none."""
    after: str
    """The value after; empty if there is none."""


@dataclass(frozen=True, config=config())
class VerdictChange:
    """A behaviour, on one route, whose verdicts differ."""

    behaviour: Text
    """The name of the test's module, without its suffix."""
    route: str
    """The route or the cluster; empty if the behaviour has neither."""
    before: Text
    """The verdict before; with several that differ, each with its number."""
    after: Text
    """The verdict after."""
    regression: bool
    """Whether the claim held in every report before and is refuted in one after."""


@dataclass(frozen=True, config=config())
class PresenceChange:
    """A behaviour, on one route, that only one side has a result of."""

    behaviour: Text
    """The name of the test's module, without its suffix."""
    route: str
    """The route or the cluster; empty if the behaviour has neither."""
    state: Presence
    """On which side it is."""
    reason: str = ""
    """Why the other side did not claim it; empty if that side does not know it."""


@dataclass(frozen=True, config=config())
class CountChange:
    """A count whose share differs beyond chance, and by more than the minimal difference."""

    behaviour: Text
    """The name of the test's module, without its suffix."""
    route: str
    """The route or the cluster; empty if the behaviour has neither."""
    name: Text
    """What was counted."""
    before: Count
    """The count before, over all reports of that side."""
    before_of: Count
    """Out of how many."""
    after: Count
    """The count after."""
    after_of: Count
    """Out of how many."""
    p_value: Probability
    """The p-value of Fisher's exact test, corrected for the number of counts compared."""
    regression: bool
    """Whether more is lost, or the share is further from the expected one."""


@dataclass(frozen=True, config=config())
class RecoveryTimes:
    """The times after which a state returned, in seconds, one for each report that measured it."""

    behaviour: Text
    """The name of the test's module, without its suffix."""
    route: str
    """The route or the cluster; empty if the behaviour has neither."""
    state: Text
    """What returned."""
    before: tuple[Seconds, ...]
    """The times before."""
    after: tuple[Seconds, ...]
    """The times after."""
    p_value: Probability | None = None
    """The p-value, corrected for the number of recovery times judged; null if a side has too few to be judged."""
    regression: bool = False
    """Whether the times are longer beyond chance, and by more than the minimal difference."""


@dataclass(frozen=True, config=config())
class Comparison:
    """What differs. Every part is empty where nothing does."""

    before: tuple[Text, ...]
    """The ids of the runs before."""
    after: tuple[Text, ...]
    """The ids of the runs after."""
    versions: tuple[Change, ...] = ()
    """Versions that differ."""
    conditions: tuple[Change, ...] = ()
    """Clusters, options and conditions that differ."""
    run: tuple[Change, ...] = ()
    """The verdict and the root cause of the runs, where they differ."""
    verdicts: tuple[VerdictChange, ...] = ()
    """Behaviours whose verdicts differ."""
    presence: tuple[PresenceChange, ...] = ()
    """Behaviours that only one side has a result of."""
    counts: tuple[CountChange, ...] = ()
    """Counts that differ beyond chance."""
    counts_compared: Count = 0
    """How many counts were compared; the p-values are corrected for this number."""
    counts_varying: tuple[Text, ...] = ()
    """Counts that differ beyond chance within one side, and were not compared."""
    facts: tuple[Change, ...] = ()
    """Other numbers that are not up to chance and differ, as of endpoints or pods."""
    recovery: tuple[RecoveryTimes, ...] = ()
    """Recovery times that differ, side by side."""

    @property
    def regressions(self) -> int:
        """How many verdicts, counts and recovery times became worse."""
        parts: tuple[Sequence[VerdictChange | CountChange | RecoveryTimes], ...] = (
            self.verdicts,
            self.counts,
            self.recovery,
        )
        return sum(one.regression for part in parts for one in part)

    @property
    def differences(self) -> int:
        """How many things differ."""
        parts = (
            self.versions, self.conditions, self.run, self.verdicts, self.presence,
            self.counts, self.counts_varying, self.facts, self.recovery,
        )  # fmt: skip
        return sum(map(len, parts))


_ADAPTER: TypeAdapter[Comparison] = TypeAdapter(Comparison)


def as_json(comparison: Comparison) -> str:
    """The comparison as one JSON object, with its number of regressions."""
    content = {"regressions": comparison.regressions, **_ADAPTER.dump_python(comparison, mode="json")}
    return _DUMPER.dump_json(content, indent=2).decode()


_DUMPER: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])
