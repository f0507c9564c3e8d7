"""How a run ends: what broke, what interrupted it, and the verdict and exit status that follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.run import verdict
from splithorizon.run.report import BehaviourResult
from splithorizon.run.verdict import Verdict
from splithorizon.undo.not_restored import NotRestored


class ExitStatus(IntEnum):
    """What the process ends with. All but INCONCLUSIVE are pytest's own numbers."""

    CONFORMANT = 0
    NOT_CONFORMANT = 1
    INTERRUPTED = 2
    MISUSED = 4
    NOTHING_SELECTED = 5
    INCONCLUSIVE = 10


@dataclass(frozen=True)
class Judgement:
    """The verdict of a run; the reason and a command that looks further are empty unless it is inconclusive."""

    verdict: Verdict
    exit_status: int
    reason: str = ""
    next_command: str = ""


@dataclass
class Outcome:
    """The one owner of a run's end. Every part of a run reports here what went wrong, and asks here what follows."""

    _problems: list[EnvironmentBroke] = field(default_factory=list)
    _misuse: UsageProblem | None = None
    _interruption: str = ""
    _uncollected: list[str] = field(default_factory=list)
    _not_restored: list[NotRestored] = field(default_factory=list)

    def environment_broke(self, problem: EnvironmentBroke) -> None:
        """The environment failed. The first problem is the reason of the verdict, later ones are added to it."""
        self._problems.append(problem)

    def misused(self, problem: UsageProblem) -> None:
        """The input was bad: nothing was created, and nothing is judged or reported."""
        self._misuse = problem

    def interrupted(self, by: str) -> None:
        """A signal, or pytest itself, ended the run before its last check."""
        self._interruption = by

    def cannot_be_collected(self, what: str) -> None:
        """A module of the suites cannot be imported, so that what it claims is not judged."""
        self._uncollected.append(what)

    def could_not_restore(self, change: NotRestored) -> None:
        """Something in the mesh is as the run left it, and not as it was; the summary begins with it."""
        self._not_restored.append(change)

    @property
    def is_misuse(self) -> bool:
        """Whether the input was bad."""
        return self._misuse is not None

    @property
    def problems(self) -> Sequence[EnvironmentBroke]:
        """What broke, in that order."""
        return tuple(self._problems)

    @property
    def not_restored(self) -> Sequence[NotRestored]:
        """What could not be restored, in that order."""
        return tuple(self._not_restored)

    def judge(self, results: Iterable[BehaviourResult], *, partial: bool, ended_with: int) -> Judgement:
        """Derive the verdict and the exit status.

        ``partial`` says that something claimed was left out; ``ended_with`` is the status that the test runner
        would end with. A refuted claim weighs more than an environment that broke; nothing outweighs an interruption.
        """
        results = list(results)
        found, reason, command = self._verdict(results, partial=partial)
        status = ended_with
        if self._interruption:
            status = ExitStatus.INTERRUPTED
        elif found is Verdict.INCONCLUSIVE and ended_with != ExitStatus.NOTHING_SELECTED:
            status = ExitStatus.INCONCLUSIVE
        elif found is Verdict.NOT_CONFORMANT:
            status = ExitStatus.NOT_CONFORMANT
        return Judgement(found, int(status), reason, command)

    def _verdict(self, results: Sequence[BehaviourResult], *, partial: bool) -> tuple[Verdict, str, str]:
        verdicts = [result.verdict for result in results]
        if not self._interruption and Verdict.NOT_CONFORMANT in verdicts:
            return Verdict.NOT_CONFORMANT, "", ""
        if self._problems:
            reason = ". Besides: ".join(problem.without_command for problem in self._problems)
            return Verdict.INCONCLUSIVE, reason, self._problems[0].next_command
        if self._interruption:
            return Verdict.INCONCLUSIVE, f"the run was interrupted: {self._interruption}", ""
        verdicts += [Verdict.INCONCLUSIVE for _ in self._uncollected]
        if (found := verdict.overall(verdicts, partial=partial)) is not Verdict.INCONCLUSIVE:
            return found, "", ""
        unjudged = [result.failure for result in results if result.verdict is Verdict.INCONCLUSIVE]
        return found, [*self._uncollected, *unjudged, "no check was run"][0], ""
