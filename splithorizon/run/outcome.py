"""The outcome of a run: problems, interruptions, and the verdict and exit status that follow from them."""

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
    """The exit status of the process. All but INCONCLUSIVE are those of pytest."""

    CONFORMANT = 0
    NOT_CONFORMANT = 1
    INTERRUPTED = 2
    MISUSED = 4
    NOTHING_SELECTED = 5
    INCONCLUSIVE = 10


@dataclass(frozen=True)
class Judgement:
    """The verdict of a run. The reason and the next command are empty unless the verdict is inconclusive."""

    verdict: Verdict
    exit_status: int
    reason: str = ""
    next_command: str = ""


@dataclass
class Outcome:
    """Collects what went wrong in a run, from all its parts, and derives the verdict and the exit status."""

    _problems: list[EnvironmentBroke] = field(default_factory=list)
    _misuse: UsageProblem | None = None
    _interruption: str = ""
    _uncollected: list[str] = field(default_factory=list)
    _not_restored: list[NotRestored] = field(default_factory=list)

    def environment_broke(self, problem: EnvironmentBroke) -> None:
        """Add a failure of the environment. The first is the reason of the verdict; later ones are appended to it."""
        self._problems.append(problem)

    def misused(self, problem: UsageProblem) -> None:
        """Record bad input. Nothing was created, and there is no verdict and no report."""
        self._misuse = problem

    def interrupted(self, by: str) -> None:
        """Record what ended the run before its last check: a signal, or pytest."""
        self._interruption = by

    def cannot_be_collected(self, what: str) -> None:
        """Record that a module of the suites cannot be imported, so that its claim cannot be judged."""
        self._uncollected.append(what)

    def could_not_restore(self, change: NotRestored) -> None:
        """Record a change to the mesh that was not undone. The summary begins with it."""
        self._not_restored.append(change)

    @property
    def is_misuse(self) -> bool:
        """Whether the input was bad."""
        return self._misuse is not None

    @property
    def problems(self) -> Sequence[EnvironmentBroke]:
        """The failures of the environment, in the order in which they occurred."""
        return tuple(self._problems)

    @property
    def not_restored(self) -> Sequence[NotRestored]:
        """The changes that were not undone, in the order in which they were recorded."""
        return tuple(self._not_restored)

    def judge(self, results: Iterable[BehaviourResult], *, partial: bool, ended_with: int) -> Judgement:
        """Derive the verdict and the exit status.

        ``partial`` says that something claimed was not run; ``ended_with`` is the exit status that pytest would use. A
        refuted claim takes precedence over a broken environment, and an interruption over both.
        """
        results = list(results)
        judged, reason, command = self._verdict(results, partial=partial)
        status = ended_with
        if self._interruption:
            status = ExitStatus.INTERRUPTED
        elif judged is Verdict.INCONCLUSIVE and ended_with != ExitStatus.NOTHING_SELECTED:
            status = ExitStatus.INCONCLUSIVE
        elif judged is Verdict.NOT_CONFORMANT:
            status = ExitStatus.NOT_CONFORMANT
        return Judgement(judged, int(status), reason, command)

    def _verdict(self, results: Sequence[BehaviourResult], *, partial: bool) -> tuple[Verdict, str, str]:
        verdicts = [result.verdict for result in results]
        if not self._interruption and Verdict.NOT_CONFORMANT in verdicts:
            return Verdict.NOT_CONFORMANT, "", ""
        if self._problems:
            reason = ". Also: ".join(problem.without_command for problem in self._problems)
            return Verdict.INCONCLUSIVE, reason, self._problems[0].next_command
        if self._interruption:
            return Verdict.INCONCLUSIVE, f"the run was interrupted: {self._interruption}", ""
        verdicts += [Verdict.INCONCLUSIVE for _ in self._uncollected]
        if (judged := verdict.overall(verdicts, partial=partial)) is not Verdict.INCONCLUSIVE:
            return judged, "", ""
        unjudged = [result.failure for result in results if result.verdict is Verdict.INCONCLUSIVE]
        return judged, [*self._uncollected, *unjudged, "no check was run"][0], ""
