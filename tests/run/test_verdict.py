"""The verdict of a run follows from the verdicts of its checks."""

from __future__ import annotations

import itertools

import pytest

from splithorizon.run.verdict import Verdict, overall

GOOD, BAD = Verdict.CONFORMANT, Verdict.NOT_CONFORMANT
PART, UNKNOWN = Verdict.PARTIAL, Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("verdicts", "partial", "amounts_to"),
    [
        ([GOOD, GOOD], False, GOOD),
        ([GOOD, GOOD], True, PART),
        ([GOOD, PART], False, PART),
        ([GOOD, UNKNOWN], False, UNKNOWN),
        ([UNKNOWN], True, UNKNOWN),
        ([GOOD, UNKNOWN, BAD], False, BAD),
        ([BAD], True, BAD),
        ([], False, UNKNOWN),
        ([], True, UNKNOWN),
    ],
)
def test_overall(verdicts: list[Verdict], *, partial: bool, amounts_to: Verdict) -> None:
    assert overall(verdicts, partial=partial) is amounts_to


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("verdicts", list(itertools.product(Verdict, repeat=3)), ids=", ".join)
def test_a_refuted_claim_takes_precedence_and_only_conformant_checks_are_conformant(
    verdicts: tuple[Verdict, ...], *, partial: bool
) -> None:
    judged = overall(verdicts, partial=partial)
    assert (judged is BAD) == (BAD in verdicts)
    assert (judged is UNKNOWN) == (UNKNOWN in verdicts and BAD not in verdicts)
    assert (judged is GOOD) == (set(verdicts) == {GOOD} and not partial)
    assert judged is overall(reversed(verdicts), partial=partial)


def test_verdicts_read_as_words() -> None:
    words = ["conformant", "not conformant", "partial", "inconclusive"]
    assert [str(verdict) for verdict in Verdict] == words
