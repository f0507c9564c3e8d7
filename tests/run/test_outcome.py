"""The verdict and the exit status of a run follow from its results and from what went wrong."""

from __future__ import annotations

import pytest

from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.run.outcome import ExitStatus, Judgement, Outcome
from splithorizon.run.report import BehaviourResult
from splithorizon.run.verdict import Verdict
from splithorizon.undo.not_restored import NotRestored


def result(verdict: Verdict, *, failure: str = "it was seen") -> BehaviourResult:
    return BehaviourResult(
        area="routing",
        behaviour="test_it",
        claim="It holds.",
        nodeid="suites/routing/test_it.py::test_it",
        verdict=verdict,
        seconds=0.1,
        failure=failure,
        likely_cause="a cause",
        next_command="kubectl get pods",
    )


HOLDS, REFUTED = result(Verdict.CONFORMANT), result(Verdict.NOT_CONFORMANT)
UNJUDGED = result(Verdict.INCONCLUSIVE, failure="the pod is away")


@pytest.mark.parametrize(
    ("results", "partial", "ended_with", "judged"),
    [
        ([HOLDS], False, 0, Judgement(Verdict.CONFORMANT, 0)),
        ([HOLDS], True, 0, Judgement(Verdict.PARTIAL, 0)),
        ([HOLDS, result(Verdict.PARTIAL)], False, 0, Judgement(Verdict.PARTIAL, 0)),
        ([HOLDS, REFUTED], False, 1, Judgement(Verdict.NOT_CONFORMANT, 1)),
        ([REFUTED, UNJUDGED], True, 1, Judgement(Verdict.NOT_CONFORMANT, 1)),
        ([HOLDS, UNJUDGED], False, 1, Judgement(Verdict.INCONCLUSIVE, 10, "the pod is away")),
        ([], False, 5, Judgement(Verdict.INCONCLUSIVE, 5, "no check was run")),
        ([], False, 0, Judgement(Verdict.INCONCLUSIVE, 10, "no check was run")),
        ([HOLDS], False, 3, Judgement(Verdict.CONFORMANT, 3)),
    ],
)
def test_verdict_and_status_follow_from_the_results(
    results: list[BehaviourResult], partial: bool, ended_with: int, judged: Judgement
) -> None:
    assert Outcome().judge(results, partial=partial, ended_with=ended_with) == judged


def test_an_environment_that_broke_is_the_reason_and_later_problems_are_added() -> None:
    outcome = Outcome()
    outcome.environment_broke(EnvironmentBroke("kind failed", seen="no node", next_command="kind get nodes"))
    outcome.environment_broke(EnvironmentBroke("the network stays", next_command="podman network ls"))
    judged = outcome.judge([HOLDS, UNJUDGED], partial=False, ended_with=0)
    reason = "kind failed. Seen: no node. Also: the network stays"
    assert judged == Judgement(Verdict.INCONCLUSIVE, ExitStatus.INCONCLUSIVE, reason, "kind get nodes")
    assert [problem.what for problem in outcome.problems] == ["kind failed", "the network stays"]


def test_a_refuted_claim_stays_refuted_where_the_environment_broke() -> None:
    outcome = Outcome()
    outcome.environment_broke(EnvironmentBroke("the network stays"))
    assert outcome.judge([REFUTED], partial=False, ended_with=1) == Judgement(Verdict.NOT_CONFORMANT, 1)


@pytest.mark.parametrize("results", [[HOLDS], [REFUTED], [UNJUDGED], []])
def test_an_interrupted_run_judges_nothing(results: list[BehaviourResult]) -> None:
    outcome = Outcome()
    outcome.interrupted("SIGTERM")
    judged = outcome.judge(results, partial=False, ended_with=2)
    assert judged == Judgement(Verdict.INCONCLUSIVE, 2, "the run was interrupted: SIGTERM")
    outcome.environment_broke(EnvironmentBroke("the network stays"))
    judged = outcome.judge(results, partial=False, ended_with=2)
    assert judged == Judgement(Verdict.INCONCLUSIVE, 2, "the network stays")


def test_a_module_that_cannot_be_imported_leaves_no_verdict_to_the_others() -> None:
    outcome = Outcome()
    outcome.cannot_be_collected("test_x.py cannot be collected: no module x")
    judged = outcome.judge([HOLDS], partial=False, ended_with=1)
    assert judged == Judgement(Verdict.INCONCLUSIVE, 10, "test_x.py cannot be collected: no module x")
    assert outcome.judge([REFUTED], partial=False, ended_with=1).verdict is Verdict.NOT_CONFORMANT


def test_misuse_and_what_was_not_restored_are_kept() -> None:
    outcome = Outcome()
    before = outcome.is_misuse
    outcome.misused(UsageProblem("--profile x: there is none. Nothing was created."))
    assert (before, outcome.is_misuse) == (False, True)
    change = NotRestored("primary Secret istio-system/a", "the API server is away", "kubectl apply -f a.yaml")
    outcome.could_not_restore(change)
    assert list(outcome.not_restored) == [change]
