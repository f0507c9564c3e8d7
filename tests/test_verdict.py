"""What a run's verdicts amount to."""

from __future__ import annotations

import pytest

from splithorizon.verdict import Verdict, overall

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


def test_verdicts_read_as_words() -> None:
    words = ["conformant", "not conformant", "partial", "inconclusive"]
    assert [str(verdict) for verdict in Verdict] == words
